"""Tell the person in names that also hold a visit (`p1_baseline`, `p1_m12`) or a sequence (`p1_T1`)."""

import re
from collections import defaultdict
from collections.abc import Iterable

from braindino.datasets.sequences import names_sequence

# What stands at the end of an id for a visit. `_1` and `_2` may as well be two people.
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
    """Return what stands before the visit at the end of a name, and the visit, `""` where there is none."""
    match = _VISIT.search(name)
    return (name[: match.start()], match["visit"]) if match and match.start() else (name, "")


def visits_of_one_person(names: Iterable[str]) -> dict[str, list[str]]:
    """Return person -> names, for names that differ only in the visit at their end.

    A name without a visit counts with those that it begins: `p1` and `p1_followup`.
    """
    people: dict[str, list[str]] = defaultdict(list)
    for name in dict.fromkeys(names):
        people[split_visit(name)[0]].append(name)
    return {person: same for person, same in people.items() if len(same) > 1}


def without_sequence(name: str) -> str:
    """Return a file's name without the words of its sequence: `p1_T1_gd` and `T2-p1` give `p1`.

    The name itself is returned where nothing else is in it.
    """
    kept: list[str] = []
    after_sequence = False
    for match in re.finditer(r"([-_. ]*)([^-_. ]+)", name):
        word = match[2].lower()
        if names_sequence(word) or (after_sequence and word in _DESCRIPTORS):
            after_sequence = True
            continue
        after_sequence = False
        kept.append(match[0])
    return "".join(kept).strip("-_. ") or name
