"""Write synthetic IXI, LONG579 and Pixar side by side, for the brain-age dataset."""

from braindino.synthetic.dataset import SyntheticDataset, writer
from braindino.synthetic.ixi import write_ixi
from braindino.synthetic.long579 import write_long579
from braindino.synthetic.pixar import write_pixar


@writer(stream=0, sessions=2)
def write_brain_age(dataset: SyntheticDataset) -> None:
    """Write half of the people to `IXI/`, a quarter each to `ds003604/` and `ds000228/`.

    Planted: the irregularities of the three datasets. Only children of LONG579 have several sessions.
    """
    quarter = max(1, dataset.people // 4)
    half, shape, seed = max(1, dataset.people - 2 * quarter), dataset.shape, dataset.seed
    parts = {
        "ixi": write_ixi(dataset.root / "IXI", half, shape=shape, seed=seed),
        "long579": write_long579(dataset.root / "ds003604", quarter, dataset.sessions, shape, seed),
        "pixar": write_pixar(dataset.root / "ds000228", quarter, shape=shape, seed=seed),
    }
    for name, part in parts.items():
        dataset.planted.scans.extend({"dataset": name, **scan} for scan in part.scans)
        for reason, files in part.dropped.items():
            dataset.planted.drop(reason, files)
