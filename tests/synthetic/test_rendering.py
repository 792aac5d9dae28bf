"""Render synthetic heads and check anatomy, contrasts and lesions."""

import time

import numpy as np
import pytest

from braindino.synthetic.anatomy import Anatomy
from braindino.synthetic.rendering import CONTRASTS, Lesion, SyntheticHead, render


def csf_share(seed: int, age: float, atrophy: float) -> float:
    """CSF over brain in the middle of the head, without noise."""
    axes = [np.arange(-60, 61, 4, dtype=np.float32)] * 3
    positions = np.stack(np.meshgrid(*axes, indexing="ij"))
    tissues = Anatomy(seed, age, "F", atrophy).tissues(positions, 4.0)
    return float(tissues.shares["csf"].sum() / tissues.brain.sum())


def test_anatomy_grades_label_and_age() -> None:
    shares = np.array([[csf_share(seed, 72, a) for a in (0.0, 0.5, 1.0)] for seed in range(6)])
    assert (np.diff(shares, axis=1) > 0).all()
    assert csf_share(1, 80, 0) > csf_share(1, 55, 0) > csf_share(1, 25, 0)
    assert shares.std(axis=0).min() > 0.002  # people differ


@pytest.mark.parametrize("sequence", sorted(CONTRASTS))
def test_render_fills_view_and_surrounds_head_with_air(sequence: str) -> None:
    volume = render(SyntheticHead(3), sequence, (32, 38, 34)).volume
    assert volume.dtype == np.float32
    assert np.isfinite(volume).all()
    edge = np.concatenate([volume[0].ravel(), volume[-1].ravel(), volume[:, -1].ravel()])
    assert np.median(edge) < 0.1
    assert 0.25 < (volume > 0.15).mean() < 0.75


def test_render_contrasts_differ_by_sequence() -> None:
    shape = (48, 56, 48)
    axes = [np.arange(n) for n in shape]
    scans = {
        name: render(SyntheticHead(5, 30), name, shape, scan=1).volume for name in ("T1w", "T2w", "FLAIR")
    }
    # Around the middle there is white matter beside ventricles: dark fluid on T1w and FLAIR, bright on T2w.
    middle = np.ix_(*[axis[len(axis) // 2 - 8 : len(axis) // 2 + 8] for axis in axes])
    assert np.corrcoef(scans["T1w"][middle].ravel(), scans["T2w"][middle].ravel())[0, 1] < -0.5
    assert np.corrcoef(scans["T1w"][middle].ravel(), scans["FLAIR"][middle].ravel())[0, 1] > 0.3


def test_render_shows_same_person_on_another_day() -> None:
    one, again = (render(SyntheticHead(7), shape=(24, 28, 24), scan=0).volume for _ in range(2))
    assert np.array_equal(one, again)
    later = render(SyntheticHead(7), shape=(24, 28, 24), scan=1).volume
    other = render(SyntheticHead(8), shape=(24, 28, 24), scan=0).volume
    assert not np.array_equal(one, later)
    assert np.corrcoef(one.ravel(), later.ravel())[0, 1] > np.corrcoef(one.ravel(), other.ravel())[0, 1]


def test_render_lesions_lie_in_brain_and_show_in_every_sequence() -> None:
    tumour = Lesion(centre=(28.0, 5.0, 22.0), radius=16)
    for sequence in CONTRASTS:
        plain = render(SyntheticHead(2), sequence)
        scan = render(SyntheticHead(2), sequence, lesion=tumour)
        assert scan.mask is not None
        assert plain.mask is None
        assert set(np.unique(scan.mask)) == {0, 1, 2, 3}
        changed = np.abs(scan.volume - plain.volume)
        assert changed[scan.mask == 0].max() < 1e-5
        assert changed[scan.mask > 0].mean() > 0.05
    still = render(SyntheticHead(2), lesion=Lesion(enhancing=False))
    assert still.mask is not None
    assert set(np.unique(still.mask)) == {0, 1, 2}
    stroke = render(SyntheticHead(2), lesion=Lesion("stroke", (-35, 10, 10), 18), stripped=True)
    assert stroke.mask is not None
    assert set(np.unique(stroke.mask)) == {0, 1}
    assert (stroke.volume == 0).mean() > 0.5
    centre = stroke.affine[:3, :3] @ np.argwhere(stroke.mask).mean(0) + stroke.affine[:3, 3]
    assert centre[0] < -20  # the person's left, where it was planted


def test_render_is_fast() -> None:
    render(SyntheticHead(0))
    begin = time.process_time()
    for seed in range(3):
        render(SyntheticHead(seed))
    assert (time.process_time() - begin) / 3 < 0.5  # a tenth of a second, with room for a busy machine
