"""Synthetic IXI, LONG579 and Pixar side by side, as the brain-age dataset takes them."""

from pathlib import Path

from braindino.synthetic.files import Planted
from braindino.synthetic.ixi import write_ixi
from braindino.synthetic.long579 import write_long579
from braindino.synthetic.pixar import write_pixar


def write_brain_age(
    root: Path,
    people: int = 60,
    sessions: int = 2,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write half of the people to `IXI/`, a quarter each to `ds003604/` and `ds000228/`, with all quirks.

    Args:
        root: folder to write to.
        people: number of people, all three together; at least one each.
        sessions: most sessions of a child of LONG579.
        shape: voxels along right, anterior, superior.
        seed: another seed gives other people; the same seed the same bytes.
    """
    quarter = max(1, people // 4)
    parts = {
        "ixi": write_ixi(Path(root) / "IXI", max(1, people - 2 * quarter), 1, shape, seed),
        "long579": write_long579(Path(root) / "ds003604", quarter, sessions, shape, seed),
        "pixar": write_pixar(Path(root) / "ds000228", quarter, 1, shape, seed),
    }
    planted = Planted()
    for name, part in parts.items():
        planted.scans += [{"dataset": name, **scan} for scan in part.scans]
        for reason, files in part.dropped.items():
            planted.drop(reason, files)
    return planted
