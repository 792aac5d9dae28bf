"""Scans of a synthetic tumour in several sequences with its mask, as the tumour datasets share them."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from braindino.synthetic.files import save_mask, save_scan
from braindino.synthetic.heads import Head, Lesion, render


def draw_tumour(rng: np.random.Generator, **given: float | bool) -> Lesion:
    """A tumour somewhere in either hemisphere; `radius`, `oedema`, `core`, `enhancing` as given or drawn."""
    side = float(rng.choice([-1, 1]))
    drawn = {"radius": float(rng.uniform(12, 22)), "oedema": float(rng.uniform(8, 18))}
    where = (side * rng.uniform(22, 34), rng.uniform(-35, 35), rng.uniform(8, 28))
    return Lesion("tumour", where, **{**drawn, **given})  # type: ignore[arg-type]


def write_tumour(
    rng: np.random.Generator,
    prefix: Path,
    names: Mapping[str, str],
    head: Head,
    tumour: Lesion,
    shape: tuple[int, int, int],
    mask: Path | None,
    four: bool,
    scan: int = 0,
) -> None:
    """Write `<prefix><name>.nii.gz` for each sequence of `names` and the mask, all in register, stripped.

    Axes run left, posterior, superior, as BraTS has them. `four`: enhancing tumour is 4, else 3.
    """
    for sequence, name in names.items():
        rendered = render(head, sequence, shape, scan=scan, lesion=tumour, stripped=True)
        path = prefix.with_name(f"{prefix.name}{name}.nii.gz")
        save_scan(rng, path, rendered, "LPS")
    if mask is not None:
        assert rendered.mask is not None
        labels = np.where(rendered.mask == 3, 4, rendered.mask) if four else rendered.mask
        save_mask(mask, labels, rendered.affine, "LPS")
