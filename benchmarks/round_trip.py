"""Measure the Dice of masks resampled from a scan's native space to the store grid and back."""

import argparse
import time
from pathlib import Path

import numpy as np

from braindino.errors import ScanError
from braindino.scans.contract import PRESETS
from braindino.scans.geometry import Geometry, mask_to_grid, restore_mask
from braindino.scans.reading import read_scan


def smooth_mask(shape: tuple[int, ...]) -> np.ndarray:
    """Return an ellipsoid with a wavy surface, half as wide as the volume (2-D in one slice)."""
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    return radius < 0.5 + 0.05 * np.sin(5 * x) * np.cos(4 * y + z)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="a folder of scans, searched recursively")
    parser.add_argument("--contract", default="paper", choices=sorted(PRESETS))
    parser.add_argument("--most", type=int, default=40, help="number of scans, spread over the folder")
    given = parser.parse_args()
    contract = PRESETS[given.contract]
    paths = sorted(path for path in given.data.rglob("*.nii*") if path.is_file())
    print(f"{'scan':46} {'stored as':>16} {'grid':>15} {'Dice':>7} {'clock s':>8}")
    worst = 1.0
    for path in paths[:: max(1, len(paths) // given.most)]:
        try:
            scan = read_scan(path)
        except ScanError as error:
            print(f"{path.name:46} {error.reason}")
            continue
        started = time.perf_counter()
        mask = smooth_mask(scan.data.shape)
        scan.data = mask.astype(np.float32)
        geometry = Geometry.of(scan, contract)
        back = restore_mask(mask_to_grid(scan, geometry) > 0.5, geometry)
        dice = 2 * (mask & back).sum() / (mask.sum() + back.sum())
        worst = min(worst, dice)
        sizes = ("x".join(map(str, shape)) for shape in (mask.shape, geometry.grid))
        seconds = time.perf_counter() - started
        print("{:46} {:>16} {:>15} {:7.4f} {:8.2f}".format(path.name[-46:], *sizes, dice, seconds))
    print(f"lowest Dice: {worst:.4f}")


if __name__ == "__main__":
    main()
