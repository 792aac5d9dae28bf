import pytest

from braindino.scans.subset import evenly_spaced


@pytest.mark.parametrize(
    ("count", "number", "positions"),
    [(9, 3, [0, 4, 8]), (5, 1, [0]), (1, 3, [0, 0, 0]), (4, 4, [0, 1, 2, 3])],
)
def test_evenly_spaced_includes_both_ends(count: int, number: int, positions: list[int]) -> None:
    assert evenly_spaced(count, number).tolist() == positions
