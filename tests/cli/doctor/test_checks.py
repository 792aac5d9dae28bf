"""Turn an error of a check into an outcome and continue."""

from collections.abc import Iterator

from braindino.cli.doctor.checks import Outcome, gigabytes, outcomes


def test_outcomes_ends_with_fail_if_check_raises() -> None:
    def check() -> Iterator[Outcome]:
        yield Outcome("a", "PASS", "fine")
        raise RuntimeError("no such\nlibrary")

    first, second = outcomes("packages", check)
    assert first.status == "PASS"
    assert (second.name, second.status) == ("packages", "FAIL")
    assert "RuntimeError: no such" in second.detail
    assert "\n" not in second.detail
    assert second.remedy


def test_gigabytes() -> None:
    assert [gigabytes(size) for size in (64e6, 3.21e9, 120e9)] == ["64 MB", "3.2 GB", "120 GB"]
