"""Segment stroke lesions by decoders on a frozen encoder, their controls, and a U-Net.

716 stroke patients of SOOP, one axial FLAIR slice each; a third of the slices show no lesion. The arms are
those of dense_arms.py. The test people are the 286 of recipes/open_mri/held_out.txt: the encoders of that
recipe never saw them. The slices of the other 430, without labels, were part of its pretraining; a fifth of
them, at random, is for validation, the others for training. Slices are cropped to the size of a brain.

    python benchmarks/soop_lesion.py ../shared/data/soop --work soop_lesion_work --fractions 0.1 0.25 0.5 1

Writes `benchmarks/results/soop_lesion.md`. The same command continues an interrupted run, and may run several
times at once.
"""

import argparse
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from dense_arms import Benchmark, options_of, resized, run_benchmark, settings_of

from braindino.datasets import Cohort
from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import load_encoder
from braindino.files import atomic_write

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "soop_lesion.md"
HELD_OUT = HERE.parent / "recipes" / "open_mri" / "held_out.txt"
VALIDATION = 0.2
# Rows and columns that contain the 189 x 157 voxels of 1 mm, in multiples of 16 and of 8.
SIZE = (192, 160)


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


def notes_of(options: argparse.Namespace) -> list[str]:
    """Return a paragraph about people and encoder."""
    split = pd.read_csv(options.work / "split.csv")["split"].value_counts()
    return [
        f"People, one slice each: {split['train']} for training, {split['val']} for validation, "
        f"{split['test']} for test, none of whom the encoder has seen. Encoder: `{options.encoder}`, on "
        f"slices of {SIZE[0]} x {SIZE[1]} pixels. Dice, NSD and HD95 are means over slices with a lesion."
    ]


def main() -> None:
    options = options_of(__doc__, RESULTS).parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    @cache
    def encoder(fold: int | None) -> Encoder:
        return resized(load_encoder(options.encoder), size=SIZE)

    benchmark = Benchmark(
        options.work, settings_of(options), lambda fold: slices(options.data, options.work), encoder
    )
    run_benchmark(benchmark, options, "Stroke lesions of SOOP", lambda: notes_of(options))


if __name__ == "__main__":
    main()
