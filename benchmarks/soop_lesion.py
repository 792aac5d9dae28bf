"""Segment stroke lesions by decoders on a frozen encoder, their controls, and a U-Net.

716 stroke patients of SOOP, one axial FLAIR slice each; a third of the slices show no lesion. The arms are
those of dense_arms.py. The test people are the 286 of recipes/open_mri/held_out.txt: the encoders of that
recipe never saw them. The slices of the other 430, without labels, were part of its pretraining; a fifth of
them, at random, is for validation, the others for training. Slices are cropped to the size of a brain; a
coarser `--spacing` is cheaper for all arms, which are evaluated in the native space of 1 mm all the same.

    python benchmarks/soop_lesion.py ../shared/data/soop --work soop_lesion_work --fractions 0.1 0.25 0.5 1

Writes `benchmarks/results/soop_lesion.md`. The same command continues an interrupted run, and may run several
times at once.
"""

import argparse
import math
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from dense_arms import Benchmark, resized
from dense_report import options_of, run_benchmark, settings_of

from braindino.datasets import Cohort
from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import load_encoder
from braindino.files import atomic_write

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "soop_lesion.md"
HELD_OUT = HERE.parent / "recipes" / "open_mri" / "held_out.txt"
VALIDATION = 0.2
EXTENT, MULTIPLE = (189, 157), 16  # rows and columns of the slices, of 1 mm


def people_of(file: Path) -> set[str]:
    """Return the keys of the people that a file lists, without its comments."""
    return {
        line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line[:1] not in ("", "#")
    }


def slices(data: Path, work: Path) -> Cohort:
    """Return the slices and lesion masks as a cohort, with the held-out people for test."""
    table = pd.read_csv(data / "cohort.csv")[["subject", "flair", "lesion_mask"]]
    for column in ("flair", "lesion_mask"):
        table[column] = [str((data / name).resolve()) for name in table[column]]
    group = "soop:" + table["subject"]
    chosen = np.random.default_rng(0).random(len(table)) < VALIDATION
    split = np.where(group.isin(people_of(HELD_OUT)), "test", np.where(chosen, "val", "train"))
    for name, content in (("slices", table), ("split", pd.DataFrame({"group": group, "split": split}))):
        with atomic_write(work / f"{name}.csv") as file:
            file.write(content.to_csv(index=False))
    return Cohort(
        work / "slices.csv", work / "store", task="segmentation", regions={"lesion": [1]},
        path={"FLAIR": "flair", "mask": "lesion_mask"}, id="subject", dataset="soop",
        split_file=work / "split.csv", prepare=True,
    )  # fmt: skip


def size_of(spacing: float) -> tuple[int, int]:
    """Return rows and columns that contain the slices at a spacing [mm]."""
    rows, columns = (math.ceil(side / spacing / MULTIPLE) * MULTIPLE for side in EXTENT)
    return rows, columns


def notes_of(options: argparse.Namespace) -> list[str]:
    """Return a paragraph about people and encoder."""
    rows, columns = size_of(options.spacing)
    split = pd.read_csv(options.work / "split.csv")["split"].value_counts()
    return [
        f"People, one slice each: {split['train']} for training, {split['val']} for validation, "
        f"{split['test']} for test, none of whom the encoder has seen. Encoder: `{options.encoder}`, on "
        f"slices of {rows} x {columns} pixels of {options.spacing:g} mm. Dice, NSD and HD95 are means over "
        "slices with a lesion."
    ]


def main() -> None:
    parser = options_of(__doc__, RESULTS)
    parser.add_argument("--spacing", type=float, default=1.0, help="of the slices that are decoded, mm")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    @cache
    def encoder(fold: int | None) -> Encoder:
        return resized(load_encoder(options.encoder), size=size_of(options.spacing), spacing=options.spacing)

    benchmark = Benchmark(
        options.work, settings_of(options), lambda fold: slices(options.data, options.work), encoder
    )
    run_benchmark(benchmark, options, "Stroke lesions of SOOP", lambda: notes_of(options))


if __name__ == "__main__":
    main()
