"""A check that breaks is an outcome, and the ones after it still run."""

from collections.abc import Iterator

from braindino.cli.doctor.checks import Outcome, gigabytes, outcomes


def test_a_check_that_breaks_fails_after_what_it_had_found() -> None:
    def check() -> Iterator[Outcome]:
        yield Outcome("a", "PASS", "fine")
        raise RuntimeError("no such\nlibrary")

    first, second = outcomes("packages", check)
    assert first.status == "PASS"
    assert (second.name, second.status) == ("packages", "FAIL")
    assert "RuntimeError: no such" in second.found
    assert "\n" not in second.found
    assert second.remedy


def test_sizes() -> None:
    assert [gigabytes(size) for size in (64e6, 3.21e9, 120e9)] == ["64 MB", "3.2 GB", "120 GB"]
