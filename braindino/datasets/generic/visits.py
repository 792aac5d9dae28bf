"""Find the person in names with a visit (`p1_baseline`, `p1_m12`) or a sequence (`p1_T1`)."""

import re
from collections import defaultdict
from collections.abc import Iterable

from braindino.datasets.sequences import names_sequence

# Endings of ids that are visits. `_1` and `_2` are not among them, as they may be two people.
_VISIT = re.compile(
    r"[-_. ](?P<visit>baseline|bl|screening|follow[-_ ]?up[-_ ]?\d*|fup?(?:\d+d?)?|pre|post|pre[-_]?op"
    r"|post[-_]?op|(?:ses|session|visit|wave|tp|time[-_ ]?point|year|month|week|day)[-_ ]?[A-Za-z0-9]{0,8}\d"
    r"|ses-[A-Za-z0-9]+"
    r"|v\d|m(?:00|03|06|12|18|24|30|36|48|60|72|84|96)|mr\d|mr_d\d{4}"
    r"|(?:19|20)\d\d(?:0\d|1[0-2])[0-3]\d|(?:19|20)\d\d-\d\d-\d\d)$",
    re.IGNORECASE,
)
_DESCRIPTORS = {
    *("gd", "gad", "c", "ce", "post", "pre", "contrast", "ax", "axial", "sag", "sagittal", "cor", "coronal"),
    *("tra", "2d", "3d", "iso", "brain", "n4", "defaced", "masked", "stripped", "bet"),
}


def split_visit(name: str) -> tuple[str, str]:
    """Return the part of a name before the visit at its end, and the visit, or `""`."""
    match = _VISIT.search(name)
    return (name[: match.start()], match["visit"]) if match and match.start() else (name, "")


def visits_of_one_person(names: Iterable[str]) -> dict[str, list[str]]:
    """Return person -> names, for names that differ only in the visit at their end.

    A name without a visit belongs to those that begin with it: `p1` and `p1_followup`.
    """
    people: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        people[split_visit(name)[0]].append(name)
    return {person: group for person, group in people.items() if len(group) > 1}


def without_sequence(name: str) -> str:
    """Return a file's name without the words of its sequence: `p1_T1_gd` and `T2-p1` give `p1`.

    A name that consists of such words only is returned unchanged.
    """
    words: list[str] = []
    after_sequence = False
    for match in re.finditer(r"([-_. ]*)([^-_. ]+)", name):
        word = match[2].lower()
        if names_sequence(word) or (after_sequence and word in _DESCRIPTORS):
            after_sequence = True
            continue
        after_sequence = False
        words.append(match[0])
    return "".join(words).strip("-_. ") or name
