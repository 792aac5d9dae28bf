"""`braindino maps`: what an encoder's patch tokens see in a scan, as pictures and as NIfTI over the scan."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from braindino.cli.opening import Device
from braindino.errors import BraindinoError

if TYPE_CHECKING:
    import numpy as np


def maps(
    scan: Path,
    *,
    encoder: str,
    out: Path,
    voxel: tuple[int, int, int] | None = None,
    mm: tuple[float, float, float] | None = None,
    slices: int = 6,
    store: Path | None = None,
    batch_size: int = 64,
    device: Device = "auto",
) -> int:
    """Draw a scan's patch tokens: principal components, likeness to a patch, likeness to the CLS token.

    Writes `<scan>_maps.png`, and in the scan's own space `<scan>_pca.nii.gz` (three volumes, whitened over
    the foreground; viewers show them as red, green and blue), `<scan>_similarity.nii.gz` (cosine with the
    reference patch) and `<scan>_cls.nii.gz` (cosine of each patch with its slice's CLS token).

    Args:
        scan: a scan file, skull-stripped as the encoder wants it.
        encoder: a folder made by `braindino export`, a pretraining run, a file of weights, a timm name.
        out: folder to write into.
        voxel: the reference patch, by a voxel of the scan, as `--voxel 88 120 40`; by default one in the
            middle of the brain.
        mm: the same by a position in the scan's space, as `--mm -12 5 30`.
        slices: how many slices the picture shows.
        store: folder of prepared scans and their features; `store` in the output folder if omitted.
        batch_size: slices that go through the encoder at once.
        device: where the encoder runs.
    """
    import numpy as np
    import pandas as pd

    from braindino.analysis.components import as_colours
    from braindino.analysis.map_figures import map_montage
    from braindino.cli.opening import open_device, open_encoder
    from braindino.datasets.walk import stem
    from braindino.encoders.maps import scan_maps
    from braindino.files import atomic_write
    from braindino.scans.geometry import restore_values
    from braindino.scans.store import fill
    from braindino.scans.writing import write_volume

    if voxel is not None and mm is not None:
        raise BraindinoError("--voxel and --mm both name the reference; give one.")
    if slices < 1:
        raise BraindinoError(f"--slices {slices}: expected 1 or more.")
    if not scan.is_file():
        raise BraindinoError(f"{scan}: no such scan; maps are made of one scan file (NIfTI, Analyze, MGH).")
    target = open_device(device)
    network, there = open_encoder(encoder, store or out / "store")
    report = fill(there, pd.DataFrame({"path": [str(scan)]}), progress=False)
    there.refresh()
    key = there.key_of(scan)
    if key is None:
        reasons = there.rejects().set_index("path")["reason"]
        raise BraindinoError(f"{scan}: {reasons.get(str(scan.absolute()), f'see {report.rejects}')}.")
    geometry = there.geometry(key)
    affine = np.asarray(geometry.affine)
    reference = None
    if voxel is not None or mm is not None:
        place = (affine @ [*voxel, 1])[:3] if voxel is not None else np.asarray(mm, dtype=float)
        a, b, c = (np.linalg.inv(geometry.grid_affine) @ [*place, 1])[:3]
        reference = (float(a), float(b), float(c))
    made = scan_maps(network, there, key, reference, batch_size, str(target), sys.stderr.isatty())
    name = stem(scan)
    volumes = {
        "pca": np.stack(
            [restore_values(made.components[..., i], made.held, geometry) for i in range(3)], axis=-1
        ),
        "similarity": restore_values(made.similarity, made.held, geometry),
        "cls": restore_values(made.cls, made.held, geometry),
    }
    for kind, values in volumes.items():
        write_volume(out / f"{name}_{kind}.nii.gz", values.astype(np.float32), affine)
    colours = np.zeros_like(made.components)
    colours[made.held] = as_colours(made.components[made.held])
    shown = _shown(made.held, made.reference[0], slices)
    position = (geometry.grid_affine @ [made.reference[0], *_centre(made.reference, network.patch_size), 1])[
        :3
    ]
    contract = network.preprocessing
    figure = map_montage(
        made.slices[shown],
        [
            ("three components", colours[shown]),
            ("like the reference", made.similarity[shown]),
            ("like the CLS token", made.cls[shown]),
        ],
        made.held[shown],
        shown,
        f"{name}, {encoder}; reference (red) at {', '.join(f'{x:.0f}' for x in position)} mm",
        mark=(shown.index(made.reference[0]), *made.reference[1:]),
        upright=contract.orientation == "RAS" and contract.slice_axes == (2, 1, 0),
    )
    with atomic_write(out / f"{name}_maps.png", "wb") as file:
        figure.savefig(file, format="png", dpi=130)
    print(f"{out / f'{name}_maps.png'}; {', '.join(f'{name}_{kind}.nii.gz' for kind in volumes)}")
    return 0


def _shown(held: "np.ndarray", reference: int, count: int) -> list[int]:
    """Slices to draw: evenly spaced over the brain, the reference's among them."""
    import numpy as np

    planes = np.flatnonzero(held.any(axis=(1, 2)))
    inner = planes[len(planes) // 10 : len(planes) - len(planes) // 10]
    chosen = inner[np.linspace(0, len(inner) - 1, min(count, len(inner))).round().astype(int)]
    chosen[int(np.abs(chosen - reference).argmin())] = reference
    return sorted({int(i) for i in chosen})


def _centre(reference: tuple[int, int, int], side: int | None) -> tuple[float, float]:
    """Row and column of the middle of a patch, in prepared pixels."""
    size = side or 1
    return (reference[1] + 0.5) * size - 0.5, (reference[2] + 0.5) * size - 0.5
