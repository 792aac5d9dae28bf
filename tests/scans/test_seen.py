"""Merge, write and hash lists of people and scans, and record what they lack."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from braindino.errors import BraindinoError
from braindino.scans.seen import OLD_LIST, Seen, is_person_digest, is_scan, slices_digest

SALT = "0123456789abcdef"
FILE = f"sha256${'0' * 64}"


def test_seen_round_trips_through_checkpoint_and_file(tmp_path: Path) -> None:
    seen = Seen(frozenset({"a:1", "b:ä"}), frozenset({FILE}), ("stage 1 is\nnot known",))
    checkpoint: dict[str, Any] = {}
    seen.into(checkpoint)
    assert Seen.of_checkpoint(checkpoint) == seen
    (tmp_path / "list.txt").write_text("\n".join(seen.lines()) + "\n", encoding="utf-8")
    read = Seen.read(tmp_path / "list.txt")
    assert (read.people, read.scans, read.gaps) == (seen.people, seen.scans, ("stage 1 is not known",))


def test_seen_union_has_every_gap_once() -> None:
    one, two = Seen(frozenset({"a"}), gaps=("x",)), Seen(frozenset({"b"}), frozenset({FILE}), ("x", "y"))
    assert one | two == Seen(frozenset({"a", "b"}), frozenset({FILE}), ("x", "y"))


def test_seen_reads_old_lists_as_incomplete(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("ADNI:1\nIXI:7\n")
    assert Seen.read(tmp_path / "old.txt") == Seen(frozenset({"ADNI:1", "IXI:7"}), gaps=(OLD_LIST,))
    assert Seen.of_checkpoint({"pretraining_people": ["ADNI:1"]}) == Seen(
        frozenset({"ADNI:1"}), gaps=(OLD_LIST,)
    )
    assert Seen.of_checkpoint({}) is None
    with pytest.raises(BraindinoError, match="'pretraining_scans' is not a list of names"):
        Seen.of_checkpoint({"pretraining_people": [], "pretraining_scans": 3})
    (tmp_path / "old.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BraindinoError, match=r"old\.txt: not a text file"):
        Seen.read(tmp_path / "old.txt")


def test_seen_digested_matches_keys_without_showing_them() -> None:
    people = frozenset({"ADNI:002_S_0001", "IXI:17"})
    digested = Seen(people).digested(SALT)
    assert all(map(is_person_digest, digested.people))
    assert not any(person in line for person in people for line in digested.lines())
    assert digested.people_among(["IXI:17", "IXI:1", "ixi:17", "ADNI:002_S_0001"]) == people
    both = digested | Seen(frozenset({"x:1"})) | Seen(frozenset({"y:1"})).digested("f" * 16)
    assert both.people_among(["x:1", "y:1", "IXI:17", "z:1"]) == {"x:1", "y:1", "IXI:17"}
    assert digested.digested("f" * 16) == digested  # a digest is not hashed again


def test_seen_digested_is_salted_and_slow() -> None:
    plain = {hashlib.sha256(f"IXI:{i}".encode()).hexdigest() for i in range(30)}
    one, two = (Seen(frozenset({"IXI:17"})).digested(salt) for salt in (SALT, "f" * 16))
    assert one.people != two.people
    assert not any(digest[:32] in line for digest in plain for line in one.lines())


def test_slices_digest_depends_on_values_shape_and_type() -> None:
    slices = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    digest = slices_digest(slices)
    assert is_scan(digest)
    assert slices_digest(np.asfortranarray(slices)) == digest
    changed = [slices + 1, slices.reshape(2, 4, 3), slices.astype(np.float16)]
    assert len({digest, *map(slices_digest, changed)}) == 4
