"""Measure prepared scans in mm and ml for all axes; distinguish heads from brains."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braindino.scans.contract import Preprocessing
from braindino.scans.statistics import measure, more_than_brain
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store


def ellipsoid(
    folder: Path, name: str, half: tuple[float, float, float], codes: str = "RAS", noise: float = 0.0
) -> Path:
    """Write an ellipsoid, brighter to the right, with half axes [mm] to the right, front and top."""
    spacing = np.array([4.0, 4.0, 5.0])
    shape = (70, 70, 60)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    inside = (((grid - np.array(shape) / 2) * spacing / half) ** 2).sum(axis=-1) < 1
    rng = np.random.default_rng(0)
    values = np.where(inside, 100.0 + grid[..., 0], noise * rng.random(shape))
    image = nib.as_closest_canonical(nib.Nifti1Image(values.astype(np.float32), np.diag([*spacing, 1])))
    to = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(codes))
    )
    file = folder / f"{name}.nii.gz"
    nib.save(image.as_reoriented(to), file)
    return file


def measured(folder: Path, file: Path, **contract: object) -> dict[str, object]:
    store = Store.create(
        folder / f"store-{file.name}", Preprocessing.preset("paper", depth=30, size=(32, 48), **contract)
    )
    fill(store, pd.DataFrame({"path": [str(file)]}), progress=False)
    store.refresh()
    key = store.key_of(file)
    assert key is not None
    return measure(store, key)


@pytest.mark.parametrize("codes", ["RAS", "PSR", "LIA"])
def test_measure_is_independent_of_axes(tmp_path: Path, codes: str) -> None:
    measures = measured(tmp_path, ellipsoid(tmp_path, codes, (65, 85, 70), codes))
    assert measures["axes"] == codes
    assert [measures[f"spacing/{name}"] for name in ("slices", "rows", "columns")] == [5, 4, 4]
    assert [measures[f"shape/{name}"] for name in ("slices", "rows", "columns")] == [60, 70, 70]
    for name, whole in (("slices", 140), ("rows", 170), ("columns", 130)):
        assert measures[f"extent/{name}"] == pytest.approx(whole, abs=15)
    assert measures["volume"] == pytest.approx(4 / 3 * np.pi * 6.5 * 8.5 * 7.0, rel=0.02)
    assert measures["foreground"] == pytest.approx(float(str(measures["volume"])) / (28 * 28 * 30), rel=1e-6)
    assert measures["oblique"] == pytest.approx(0, abs=1e-3)
    # 1.63 for the density of a ball along an axis; voxels at the surface are mixed with the background, 0.
    assert measures["intensity/50"] == pytest.approx(0, abs=0.05)
    assert measures["intensity/95"] == pytest.approx(1.45, abs=0.2)
    assert more_than_brain(measures) == ""


@pytest.mark.parametrize("normalise", ["zscore-clipped", "zscore-background"])  # corrected, and before
def test_measure_ignores_raised_background(tmp_path: Path, normalise: str) -> None:
    measures = measured(tmp_path, ellipsoid(tmp_path, "a", (65, 85, 70)), normalise=normalise)
    assert measures["extent/rows"] == pytest.approx(170, abs=15)


@pytest.mark.parametrize(
    ("half", "noise", "reason"),
    [
        ((80, 105, 95), 0.0, "l, more than any brain"),  # a head, its background removed
        ((40, 40, 125), 0.0, "mm long"),  # with the neck
        ((65, 85, 70), 3.0, "there is no background"),  # noise around it
    ],
)
def test_more_than_brain_detects_heads(
    tmp_path: Path, half: tuple[float, float, float], noise: float, reason: str
) -> None:
    assert reason in more_than_brain(measured(tmp_path, ellipsoid(tmp_path, "head", half, noise=noise)))


def test_measure_reports_oblique_angle(tmp_path: Path) -> None:
    file = ellipsoid(tmp_path, "a", (65, 85, 70))
    image = nib.load(file)
    turn = np.deg2rad(35)
    rotation = np.array([[1, 0, 0], [0, np.cos(turn), -np.sin(turn)], [0, np.sin(turn), np.cos(turn)]])
    affine = image.affine.copy()
    affine[:3] = rotation @ affine[:3]
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), affine), tmp_path / "b.nii.gz")
    assert measured(tmp_path, tmp_path / "b.nii.gz")["oblique"] == pytest.approx(35, abs=0.01)
