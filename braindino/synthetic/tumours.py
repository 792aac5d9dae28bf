"""Write scans of a synthetic tumour in several sequences, with its mask."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from braindino.synthetic.dataset import SyntheticDataset
from braindino.synthetic.files import save_mask
from braindino.synthetic.rendering import Lesion, SyntheticHead, render


def draw_tumour(rng: np.random.Generator, **given: float | bool) -> Lesion:
    """Return a tumour in either hemisphere.

    Args:
        rng: random numbers.
        given: fields of `Lesion` (`radius`, `oedema`, `core`, `enhancing`) that are not drawn.
    """
    side = float(rng.choice([-1, 1]))
    drawn = {"radius": float(rng.uniform(12, 22)), "oedema": float(rng.uniform(8, 18))}
    where = (side * rng.uniform(22, 34), rng.uniform(-35, 35), rng.uniform(8, 28))
    return Lesion("tumour", where, **{**drawn, **given})  # type: ignore[arg-type]


def write_tumour(
    dataset: SyntheticDataset,
    prefix: Path,
    names: Mapping[str, str],
    head: SyntheticHead,
    tumour: Lesion,
    mask: Path | None = None,
    four: bool = True,
    scan: int = 0,
) -> None:
    """Write stripped scans of a tumour in register, and its mask, with axes LPS as in BraTS.

    Args:
        dataset: dataset that gives shape and random gains.
        prefix: beginning of the paths; the files are `<prefix><name>.nii.gz`.
        names: sequence -> name.
        head: head of the patient.
        tumour: the lesion.
        mask: file of the mask, None for no mask.
        four: True if enhancing tumour has the label 4, else 3.
        scan: number of the session.
    """
    for sequence, name in names.items():
        rendered = render(head, sequence, dataset.shape, scan=scan, lesion=tumour, stripped=True)
        dataset.save_scan(prefix.with_name(f"{prefix.name}{name}.nii.gz"), rendered, "LPS")
    if mask is not None:
        assert rendered.mask is not None
        labels = np.where(rendered.mask == 3, 4, rendered.mask) if four else rendered.mask
        save_mask(mask, labels, rendered.affine, "LPS")
