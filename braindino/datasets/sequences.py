"""Recognise the MRI sequence of a scan from whole words of its name."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

UNKNOWN = "unknown"
# BIDS suffixes of whole images, and the sequence of each (BIDS specification, schema/rules/files/raw/anat).
BIDS_SUFFIXES = {
    "T1w": "T1w",
    "T2w": "T2w",
    "FLAIR": "FLAIR",
    "PD": "PD",
    "PDw": "PD",
    "inplaneT1": "T1w",
    "inplaneT2": "T2w",
    "T2star": "T2star",
    "T2starw": "T2star",
    "angio": "MRA",
}
_BIDS_KEYS = (
    "acq|ce|chunk|den|desc|dir|echo|flip|hemi|inv|label|mod|mt|nuc|part|proc|rec|recording|res|run|sample|ses"
    "|space|split|stain|sub|task|tpl|tracksys|trc|voi|cohort|atlas|scale|seg|from|to|mode"
)
_ENTITY = re.compile(rf"(?:^|(?<=_))({_BIDS_KEYS})-([A-Za-z0-9+]+)(?=_|$)")
_NO_CONTRAST = {"none", "no", "pre", "without", "nocontrast", "precontrast", "native", "plain"}

# Prefixes and suffixes of a sequence within one word. Few prefixes are allowed: `set1` and `cort1` are ids.
# Philips writes `WIP sT1W_3D_TFE`.
_BEFORE = r"(?:(?:wip)?s?(?=t[12]w|[23]dt[12]|[23]dflair))?(?:[23]d|ax|axial|sag|sagittal|coronal)*"
_AFTER = (
    r"(?:w|wi|weighted|image|n|[23]d|ax|axial|sag|sagittal|cor|coronal|tra|iso|fs|se|tse|fse|ffe|tfe|tirm"
    r"|fl[23]d|flash|mprage|mpr|spgr|fspgr|bravo|vibe|space|blade|propeller)"
)
_AGENT = r"(?:c|ce|gd|gad|gado|post|postgd|postgad|postcontrast|contrast|km)"
_T1 = re.compile(rf"{_BEFORE}t1(?:{_AFTER}+\d?)?(?P<agent>{_AGENT})?")
_MAP = re.compile(r"(t1|t2|t2star|r1|r2|r2star|pd|mtr)map|t1rho|mtsat")
# Words for a sequence by its contrast; the first pattern that matches a word counts.
_STRONG = (
    ("FLAIR", re.compile(rf"{_BEFORE}(?:t2)?flair(?:t2|{_AFTER})*\d?|t2f|darkfluid")),
    ("UNIT1", re.compile(r"mp2rageuni")),
    ("MP2RAGE", re.compile(r"mp2rage(?:inv\d)?")),
    ("T1w", _T1),
    ("T2star", re.compile(rf"{_BEFORE}t2(?:star|s)(?:w|wi)?")),
    ("T2w", re.compile(rf"{_BEFORE}t2(?:{_AFTER}+\d?)?")),
    ("ADC", re.compile(r"adc")),
    ("DWI", re.compile(r"dwi|dti|tracew|diffusion")),
    ("MRA", re.compile(r"mra|tof|angio")),
    ("SWI", re.compile(r"swi(?:[23]d)?|e?swan|qsm")),
    ("BOLD", re.compile(r"bold|(?:rs)?fmri|sbref")),
    ("ASL", re.compile(r"p?casl|asl")),
)
# Words with other meanings too (a Parkinson's group, a reformat): used only if no strong word matches.
_WEAK = (
    ("T1w", re.compile(rf"{_BEFORE}(?:me?mprage|mprage|mpr|f?spgr|bravo)\d?{_AGENT}?")),
    ("PD", re.compile(rf"{_BEFORE}pd(?:w|wi)?")),
    ("BOLD", re.compile(r"rest|epi")),
    ("DWI", re.compile(r"diff")),
)
_GADOLINIUM = re.compile(
    r"gd|gad|gado|gadolinium|gadovist|gadavist|dotarem|magnevist|prohance|multihance|km"
    r"|contrast|enhanced|post(?:gd|gad|gado|contrast)|contrastenhanced"
)
_AFTER_T1 = re.compile(rf"c|ce|cont|wc|post\d?|{_GADOLINIUM.pattern}")
_NEGATION = {"pre", "no", "non", "without", "wo", "before", "un", "phase"}
_PLAIN = {
    "precontrast",
    "noncon",
    "pregd",
    "pregad",
    "noncontrast",
    "nocontrast",
    "nogd",
    "native",
    "nativ",
    "unenhanced",
}
_EVENT_AFTER_POST = re.compile(
    r"op|surg\w*|treat\w*|ther\w*|tx|rt|chemo\w*|stroke|interv\w*|train\w*|test\w*|stim\w*|tms|ect|rest\w*"
)
_ONTO = {"to", "in", "into", "onto", "reg2", "space"}  # followed by the target of a registration
_LOCALIZER = re.compile(
    r"locali[sz]ers?|(?:aa|aah|head|aahead|brain)*scouts?|tripilot|topogram|smartbrain\w*|posdisp"
)
_PLANNING = re.compile(
    r"\b(cal (head|body|scan|\d+ch)|ref(erence)? scan|coil survey|mpr range"
    r"|3plane (loc|t2star|t2 fgre|ssfse))\b"
)
_LOCALIZER_WEAK = re.compile(r"survey|calibration|calib|refscan|loc|3pl|3plane|asset")
_COMPLEX_PART = {
    "ph": "phase",
    "pha": "phase",
    "phase": "phase",
    "real": "real part",
    "imaginary": "imaginary part",
}
_PHASES_OF_CONTRAST = {"arterial", "venous", "portal", "early", "late", "delayed", "equilibrium"}
_PLANES = {"ax", "axial", "sag", "sagittal", "cor", "coronal", "tra", "transversal", "transverse"}


def parse_entities(name: str) -> dict[str, str]:
    """Return the BIDS entities of a name: `sub-01_ses-2_T1w` gives {"sub": "01", "ses": "2"}."""
    return dict(_ENTITY.findall(name))


def sequence_in_name(name: str) -> str:
    """Return the sequence in a file name or series description, or `unknown`."""
    return recognise(name)[0]


def recognise(name: str) -> tuple[str, str]:
    """Return the sequence of a scan by its name, and the reason if it is `unknown`.

    Words are separated by characters other than letters and digits, so `subject1` does not contain `t1`. BIDS
    names (`<entity>-<label>_..._<suffix>`) are parsed by suffix and entities; `ce-` marks a scan after
    contrast. Names with several sequences are `unknown`, except for a few known pairs: T2 and FLAIR is FLAIR,
    T1 FLAIR is T1w, `T2_to_T1` is T2w.

    Args:
        name: file name without its suffix, or series description.

    Returns:
        sequence: `T1w`, `T1c` (T1 after contrast), `T2w`, `FLAIR`, `PD`, `T2star`, ...; names of other
            sequences after contrast end in `c` as well.
        reason: why the sequence is `unknown`, or `""`.
    """
    by_entities = _by_entities(name)
    return _by_words(name) if by_entities is None else by_entities


def _by_entities(name: str) -> tuple[str, str] | None:
    """Return sequence and reason by BIDS suffix and entities, or None if words must decide."""
    named = parse_entities(name)
    suffix = name.rpartition("_")[2]
    if part := complex_part(name):
        return UNKNOWN, f"the {part} of the signal, not its magnitude"
    if suffix in BIDS_SUFFIXES and (named or _is_bids_only(suffix)):
        return bids_sequence(named, suffix)
    if suffix == "UNIT1":
        return "UNIT1", ""
    if "inv" in named:
        return UNKNOWN, f"an inversion image (inv-{named['inv']})"
    if suffix == "epi" and named and "task" not in named:
        return UNKNOWN, "a field map, by its name"
    return None


def _by_words(name: str) -> tuple[str, str]:
    """Return the sequence and reason by the words of a name outside its BIDS entities."""
    named = parse_entities(name)
    words = _words(_ENTITY.sub("", name))
    candidates = {kind for kind, _ in _matches(words, _STRONG)}
    if named.get("task") and not candidates:
        return "BOLD", ""
    if not candidates:
        candidates = {kind for kind, _ in _matches(_without_group(words), _WEAK)}
        if candidates == {"T1w"} and _is_reformat(words):
            return UNKNOWN, "a reformat of a scan, by its name"
    elif _is_dual_echo(words):
        candidates.add("PD")
    sequence = _decide(candidates, words)
    if not sequence:
        return UNKNOWN, _why_unknown(candidates, words)
    contrast = named.get("ce", "").lower() not in {"", *_NO_CONTRAST} or _has_contrast(words, sequence)
    contrast = contrast or (sequence == "T1w" and _begins_after_contrast(words))
    return _after_contrast(sequence) if contrast else sequence, ""


def bids_sequence(named: Mapping[str, str], suffix: str) -> tuple[str, str]:
    """Return the sequence of a BIDS scan by entities and suffix, and why it is `unknown`.

    Args:
        named: entity -> label.
        suffix: one of `BIDS_SUFFIXES`.
    """
    if "inv" in named:
        return UNKNOWN, f"an inversion image (inv-{named['inv']}), not a whole {suffix}"
    base = BIDS_SUFFIXES[suffix]
    agent = named.get("ce", "").lower()
    contrast = agent not in {"", *_NO_CONTRAST}
    if not agent:
        # Some datasets give the agent in the free label of acq-.
        label = named.get("acq", "").lower()
        contrast = bool(re.fullmatch(rf"(?:{_GADOLINIUM.pattern}|ce|t1ce|t1c|post)", label))
    return _after_contrast(base) if contrast else base, ""


def names_sequence(word: str) -> bool:
    """Return True for a word that always means a sequence: `T1`, `FLAIR`, but not `PD`."""
    patterns = [pattern for _, pattern in (*_STRONG, _WEAK[0])]
    return any(pattern.fullmatch(word.lower()) for pattern in patterns)


def complex_part(name: str) -> str:
    """Return `phase`, `real part`, ... if a name marks such a part of the signal, else `""`."""
    part = parse_entities(name).get("part", "").lower()
    if part:
        return "" if part.startswith("mag") else part
    ignored = re.compile(r"\d+|e\d+|images?|img")
    words = [word for word in _words(_ENTITY.sub("", name)) if not ignored.fullmatch(word)]
    if not words or (len(words) > 1 and words[-2] in _PHASES_OF_CONTRAST):
        return ""
    return _COMPLEX_PART.get(words[-1], "")


def is_localizer(name: str) -> bool:
    """Return True for the name of a localizer, scout or calibration scan."""
    named = parse_entities(name)
    if name.rpartition("_")[2] in BIDS_SUFFIXES:
        words = _words(" ".join(named.get(key, "") for key in ("acq", "rec", "desc")))
        return any(_LOCALIZER.fullmatch(word) for word in words)
    words = _words(_ENTITY.sub("", name))
    if any(_LOCALIZER.fullmatch(word) for word in words) or _PLANNING.search(" ".join(words)):
        return True
    return any(_LOCALIZER_WEAK.fullmatch(word) for word in words) and not _matches(words, _STRONG)


def _is_bids_only(suffix: str) -> bool:
    """Return True for a suffix that only BIDS uses; it decides even without entities."""
    return suffix in ("T1w", "T2w", "PDw", "T2starw", "inplaneT1", "inplaneT2")


def _words(name: str) -> list[str]:
    """Return the words of a name in lower case, with spellings such as `T2*` normalised."""
    text = re.sub(r"(?i)t2\*", "t2star", name)
    text = re.sub(r"(?i)(?<![a-z0-9])w/o(?![a-z0-9])", "without", text)
    text = re.sub(r"(?i)\+ ?(c|gd|km)(?![a-z0-9])", " gd", text)
    text = re.sub(r"(?i)(?<![a-z0-9])mp[-_ ]?2[-_ ]?rage", "mp2rage", text)
    text = re.sub(r"(?i)(?<![a-z0-9])mp[-_ ]rage", "mprage", text)
    text = re.sub(r"(?i)dark[-_ ]fluid|(?<![a-z0-9])da-fl(?![a-z0-9])", "darkfluid", text)
    text = re.sub(r"(?i)(?<![a-z0-9])3[-_ ]?pl(ane)?(?![a-z0-9])", "3plane", text)
    text = re.sub(r"(?i)(?<![a-z0-9])c-(?![a-z0-9])", "without contrast", text)
    return [word.lower() for word in re.findall(r"[^\W_]+", text)]


def _matches(words: Sequence[str], kinds: Sequence[tuple[str, re.Pattern[str]]]) -> list[tuple[str, int]]:
    """Return the sequences among words with their positions, up to a word such as `to`."""
    result: list[tuple[str, int]] = []
    for i, word in enumerate(words):
        if word in _ONTO and result and i + 1 < len(words) and word != "space":
            break
        kind = next((kind for kind, pattern in kinds if pattern.fullmatch(word)), "")
        if kind:
            result.append((kind, i))
    return result


def _without_group(words: Sequence[str]) -> Sequence[str]:
    """Return the words without a first `pd` and number, the id of a person with Parkinson's."""
    is_group = len(words) > 1 and words[0] == "pd" and words[1].isdigit()
    return words[2:] if is_group else words


def _decide(candidates: set[str], words: Sequence[str]) -> str:
    """Choose one of the candidates, or return `""`; pairs that scanners use are resolved."""
    if _is_map(words):
        return ""
    if candidates == {"T2w", "FLAIR"}:
        return "FLAIR"
    if candidates == {"T1w", "FLAIR"} and _is_t1_flair(words):
        return "T1w"
    if "MP2RAGE" in candidates and candidates <= {"MP2RAGE", "T1w", "UNIT1"}:
        uniform = any(word in ("uni", "unit1", "uniden") for word in words)
        return "UNIT1" if uniform or "UNIT1" in candidates else "MP2RAGE"
    if "SWI" in candidates and candidates <= {"T2w", "T2star", "SWI"}:
        return "SWI"
    if candidates <= {"T2w", "T2star"} and "T2w" in candidates:
        star = {"star", "hemo", "fl2d", "medic", "gre"} & set(words)
        # `T2w` is among the candidates; it is the only one if `T2star` is not.
        return "T2star" if star or "T2star" in candidates else "T2w"
    return next(iter(candidates)) if len(candidates) == 1 else ""


def _why_unknown(candidates: set[str], words: Sequence[str]) -> str:
    if _is_map(words):
        return "a quantitative map, by its name"
    return f"{' or '.join(sorted(candidates))} by its name" if candidates else "no sequence in its name"


def _is_reformat(words: Sequence[str]) -> bool:
    """Return True for `MPR cor`, a reformat of any scan; `mpr` alone is MPRAGE."""
    places = [i for i, word in enumerate(words) if word == "mpr"]
    beside = {words[k] for i in places for k in (i - 1, i + 1) if 0 <= k < len(words)}
    return bool(beside & {*_PLANES, "range", "reformat"})


def _is_dual_echo(words: Sequence[str]) -> bool:
    """Return True for `PD-T2_TSE`: two echoes, and the file may be either."""
    pairs = set(pairwise(words))
    return any(pair in pairs for pair in (("pd", "t2"), ("t2", "pd"), ("pdw", "t2w"), ("t2w", "pdw")))


def _begins_after_contrast(words: Sequence[str]) -> bool:
    """Return True for `postGd_T1` and `POST_AX_T1`; in `post_T1` the first word may be a visit."""
    first, second = (*words, "", "")[:2]
    return bool(re.fullmatch(r"post(gd|gad|gado|contrast)|contrastenhanced", first)) or (
        first == "post" and second in _PLANES
    )


def _is_map(words: Sequence[str]) -> bool:
    """Return True for a quantitative map: T1map, T1_map, DTI_FA, MP2RAGE's T1 images."""
    if "mp2rage" in words and ("t1", "images") in pairwise(words):
        return True
    if {"dti", "dwi"} & set(words) and words[-1] in ("fa", "md", "rd", "colfa", "eadc"):
        return True
    return any(
        _MAP.fullmatch(word) or (word in ("map", "maps", "mapping") and i and words[i - 1] in ("t1", "t2"))
        for i, word in enumerate(words)
    )


def _is_t1_flair(words: Sequence[str]) -> bool:
    """Return True for `ax T1 FLAIR`, a T1-weighted protocol; a first word T1 may be an id."""
    return any(i > 1 and word == "flair" and words[i - 1] in ("t1", "t1w") for i, word in enumerate(words))


def _has_contrast(words: Sequence[str], sequence: str) -> bool:
    """Return True if words name a contrast agent, not negated and not `post` treatment."""
    if _PLAIN & set(words):
        return False
    if any((glued := _T1.fullmatch(word)) and glued["agent"] for word in words):
        return True
    places = [i for kind, i in _matches(words, (*_STRONG, *_WEAK)) if kind == sequence]
    # `T1_pre` is before contrast; `pre` in front of T1 is a visit.
    if places and "pre" in words[places[-1] :]:
        return False
    affirmed = [i for i in range(1, len(words)) if words[i - 1] not in _NEGATION]
    return any(
        _GADOLINIUM.fullmatch(words[i]) or (sequence == "T1w" and _follows(words, places, i))
        for i in affirmed
    )


def _follows(words: Sequence[str], places: Sequence[int], i: int) -> bool:
    """Return True if a word such as `c` or `post` belongs to the T1 before it, not to an event."""
    before = [place for place in places if place < i]
    if not before or not _AFTER_T1.fullmatch(words[i]):
        return False
    between = words[before[-1] + 1 : i]
    descriptors = all(re.fullmatch(rf"{_BEFORE}|{_AFTER}+|\d+|mprage|ir|gre|hr", word) for word in between)
    event = i + 1 < len(words) and bool(_EVENT_AFTER_POST.fullmatch(words[i + 1]))
    return descriptors and not event


def _after_contrast(sequence: str) -> str:
    return f"{sequence.removesuffix('w')}c"
