"""Record, merge, write and match the people and scans that weights were trained on."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from braindino.errors import BraindinoError
from braindino.files import read_text

PEOPLE, SCANS, GAPS = "pretraining_people", "pretraining_scans", "pretraining_gaps"  # in a checkpoint
FILE_DIGEST, SLICES_DIGEST = "sha256$", "slices$"  # of a scan's file, and of its prepared slices
HEADER = "# people and scans seen in pretraining, format 2"
INCOMPLETE = "# incomplete: "
OLD_LIST = "an earlier version wrote the list: it has no scans, and may lack people of an earlier stage"
_SCAN = re.compile(r"(sha256\$[0-9a-f]{64}|slices\$[0-9a-f]{32})")
_PERSON = re.compile(r"scrypt\$([0-9a-f]{16})\$([0-9a-f]{32})")
_COST = 2**10  # of scrypt: 1 MiB and about 3 ms a person, so that ids cannot be guessed in seconds


@dataclass(frozen=True)
class Seen:
    """List the people and scans that weights were trained on.

    Attributes:
        people: keys of persons (`<dataset>:<person>`), or their digests `scrypt$<salt>$<digest>`.
        scans: digests of scans: `sha256$` of the file's bytes, `slices$` of the prepared slices.
        gaps: why the lists may lack people or scans; empty if they are complete.
    """

    people: frozenset[str] = frozenset()
    scans: frozenset[str] = frozenset()
    gaps: tuple[str, ...] = ()

    def __or__(self, other: "Seen") -> "Seen":
        """Return the union of both lists."""
        gaps = tuple(dict.fromkeys([*self.gaps, *other.gaps]))
        return Seen(self.people | other.people, self.scans | other.scans, gaps)

    @classmethod
    def of_checkpoint(cls, content: Mapping[str, Any]) -> Self | None:
        """Return the lists in a checkpoint, or None if it has none.

        Raises:
            BraindinoError: an entry is not a list of names.
        """
        if content.get(PEOPLE) is None:
            return None
        lists = {PEOPLE: content[PEOPLE], SCANS: content.get(SCANS, []), GAPS: content.get(GAPS, [OLD_LIST])}
        for name, names in lists.items():
            if not (isinstance(names, list) and all(isinstance(each, str) for each in names)):
                raise BraindinoError(
                    f"the checkpoint's entry {name!r} is not a list of names; it is damaged."
                )
        return cls(frozenset(lists[PEOPLE]), frozenset(lists[SCANS]), tuple(lists[GAPS]))

    def into(self, checkpoint: dict[str, Any]) -> None:
        """Put the lists into a checkpoint, as plain values."""
        checkpoint[PEOPLE], checkpoint[SCANS] = sorted(self.people), sorted(self.scans)
        checkpoint[GAPS] = list(self.gaps)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read a list that `lines` wrote, or one of an earlier version with a person per line.

        Raises:
            BraindinoError: the file is not text in UTF-8.
        """
        lines = read_text(file).removeprefix("\ufeff").splitlines()
        entries = {line.strip() for line in lines if line.strip() and not line.startswith("#")}
        gaps = tuple(line.removeprefix(INCOMPLETE) for line in lines if line.startswith(INCOMPLETE))
        scans = frozenset(filter(is_scan, entries))
        if HEADER not in lines:
            gaps = (*gaps, OLD_LIST)
        return cls(frozenset(entries - scans), scans, gaps)

    def lines(self) -> list[str]:
        """Return the lines of a file that `read` reads."""
        gaps = [f"{INCOMPLETE}{' '.join(gap.split())}" for gap in self.gaps]
        return [HEADER, *gaps, *sorted(self.people), *sorted(self.scans)]

    def digested(self, salt: str) -> "Seen":
        """Return the lists with a digest in place of every person's key.

        Args:
            salt: 16 hexadecimal digits; equal salts give equal digests of a key.
        """
        plain = sorted(name for name in self.people if not is_person_digest(name))
        digested = self.people - set(plain)
        return Seen(digested | set(_digests(plain, salt)), self.scans, self.gaps)

    def people_among(self, keys: Iterable[str]) -> set[str]:
        """Return those keys of persons that are listed, in plain form or by their digest."""
        names = set(keys)
        listed = names & self.people
        salts = {match[1] for name in self.people if (match := _PERSON.fullmatch(name))}
        for salt in sorted(salts):
            left = sorted(names - listed)
            digests = _digests(left, salt)
            listed |= {name for name, digest in zip(left, digests, strict=True) if digest in self.people}
        return listed


def is_scan(entry: str) -> bool:
    """Return whether an entry of a list is the digest of a scan."""
    return _SCAN.fullmatch(entry) is not None


def is_person_digest(entry: str) -> bool:
    """Return whether an entry of a list is the digest of a person's key."""
    return _PERSON.fullmatch(entry) is not None


def slices_digest(slices: Any) -> str:
    """Return the digest of prepared slices (D, H, W), equal for every file format of a scan."""
    sha = hashlib.sha256(f"{slices.shape}:{slices.dtype}:".encode())
    sha.update(memoryview(slices if slices.flags.c_contiguous else slices.copy()).cast("B"))
    return f"{SLICES_DIGEST}{sha.hexdigest()[:32]}"


def _digests(keys: list[str], salt: str) -> list[str]:
    with ThreadPoolExecutor(max(1, min(8, os.cpu_count() or 1))) as pool:  # hashing releases the GIL
        return list(pool.map(lambda key: _person_digest(key, salt), keys))


@lru_cache(maxsize=200_000)
def _person_digest(key: str, salt: str) -> str:
    name = key.encode("utf-8", "surrogateescape")
    digest = hashlib.scrypt(name, salt=bytes.fromhex(salt), n=_COST, r=8, p=1, dklen=16)
    return f"scrypt${salt}${digest.hex()}"
