"""Segment the hippocampus in 3-D: a pretrained SwinUNETR beside random weights and a U-Net.

92 T1 crops of 1 mm (Medical Segmentation Decathlon, Task04; labels 1 anterior, 2 posterior) are split by
person, 60 / 20 / 20 %. Stage 1 of BrainSegFounder trains a Swin encoder on the training people's crops only.
SwinUNETR from it, SwinUNETR from random weights and DynUNet are then trained with one config: the same split,
crops, loss, steps, schedule and choice of the weights. The sizes are those of the configs `*_tiny.yaml`, for
a CPU: a demonstration of the commands and of the comparison, not of what the networks can do.

    python benchmarks/volumetric_hippocampus.py ../shared/data/hippocampus --work volumetric_work

Writes `benchmarks/results/volumetric_hippocampus.md`. The same command continues an interrupted run.
"""

import argparse
import time
from pathlib import Path

import pandas as pd

import braindino
from braindino.analysis.formatting import format_interval, format_p_value
from braindino.analysis.runs import Run, largest_fraction_summary
from braindino.cli.main import main as command_line
from braindino.csv_text import csv_text
from braindino.datasets import Cohort
from braindino.files import atomic_write

RESULTS = Path(__file__).parent / "results" / "volumetric_hippocampus.md"
REGIONS = {"anterior": [1], "posterior": [2]}
METRICS = ("dice", "hd95", "nsd")
NSD_TOLERANCE = 1.0  # mm, a voxel
# Slices, rows and columns at 1 mm: every label is inside.
GRID = (40, 56, 32)
# Name of a run and what `fit` is given for it, beside the options of all.
ARMS = {
    "pretrained": ("SwinUNETR, stage 1", ["--model.init_from", "{stage_1}"]),
    "random": ("SwinUNETR, random weights", []),
    "unet": ("DynUNet", ["--model", "DynUNetModule"]),
}


def command(*arguments: object) -> None:
    """Run one `braindino` verb."""
    words = [str(argument) for argument in arguments]
    print("$ braindino", *words, flush=True)
    if code := command_line(words):
        raise SystemExit(f"braindino {words[0]} ended with {code}")


def crops(data: Path, work: Path) -> Cohort:
    """Return the crops and their masks as a cohort, prepared and split; write its table."""
    images = sorted((data / "images").glob("*.nii.gz"))
    rows = [
        (p.name.removesuffix(".nii.gz"), p.resolve(), (data / "labels" / p.name).resolve()) for p in images
    ]
    with atomic_write(work / "crops.csv") as file:
        file.write(csv_text(pd.DataFrame(rows, columns=["id", "t1", "mask"])))
    cohort = Cohort(
        work / "crops.csv", work / "store", task="segmentation", regions=REGIONS,
        path={"T1w": "t1", "mask": "mask"}, dataset="hippocampus", prepare=True,
    )  # fmt: skip
    cohort.manifest.write(work / "m.csv")
    grid = ["--spacing", 1, "--depth", GRID[0], "--size", f"[{GRID[1]}, {GRID[2]}]"]
    command("prepare", work / "m.csv", "--store", work / "store", "--contract", "volume", *grid)
    cohort.prepare_data()
    cohort.setup()
    return cohort


def pretrain(cohort: Cohort, work: Path, steps: int) -> Path:
    """Train stage 1 on the training people's crops, unless it is done; return the run folder."""
    tested = cohort.cases.loc[cohort.cases["split"] != "train", "group"]
    with atomic_write(work / "excluded.txt") as file:
        file.write("".join(f"{person}\n" for person in tested))
    command(
        *("fit", "--config", "brainsegfounder_stage1_tiny.yaml", "--run.root", work / "runs"),
        *("--run.name", "stage1", "--run.id", "training_people", "--data.modalities", "[T1w]"),
        *("--data.store", work / "store", "--data.exclude", work / "excluded.txt"),
        *("--trainer.max_steps", steps, "--trainer.enable_progress_bar", "false"),
    )
    return work / "runs" / "stage1" / "training_people"


def train(work: Path, stage_1: Path, steps: int, lr: float) -> dict[str, Path]:
    """Train and test every arm that is not done; return their run folders."""
    cases = {
        "root": work / "crops.csv", "store": work / "store", "task": "segmentation", "dataset": "hippocampus",
        "regions": "{anterior: [1], posterior: [2]}", "path": "{T1w: t1, mask: mask}",
    }  # fmt: skip
    folders = {}
    for arm, (_, extra) in ARMS.items():
        folders[arm] = work / "runs" / "hippocampus" / arm
        if (folders[arm] / "results.json").is_file():
            continue
        command(
            *("fit", "--config", "brats_swinunetr_tiny.yaml", "--run.root", work / "runs"),
            *("--run.name", "hippocampus", "--run.id", arm, "--data.cases", "braindino.datasets.Cohort"),
            *(word for key, value in cases.items() for word in (f"--data.cases.{key}", value)),
            *("--data.steps_per_epoch", steps // 2, "--trainer.check_val_every_n_epoch", 1),
            *("--trainer.max_steps", steps, "--trainer.enable_progress_bar", "false"),
            *(word.format(stage_1=stage_1) for word in extra),
            *("--model.optimiser.lr", lr, "--model.nsd_tolerance", NSD_TOLERANCE),
        )
        command(
            "test", "--config", folders[arm] / "config.yaml", "--run.id", arm, "--run.root", work / "runs"
        )
    return folders


def tables(folders: dict[str, Path]) -> list[str]:
    """Return the lines of two tables: every arm, and the paired differences."""
    names = [f"{metric}_{region}" for metric in METRICS for region in REGIONS]
    lines = [f"| network | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for arm, folder in folders.items():
        metrics = largest_fraction_summary(Run(folder))["test"]["metrics"]
        cells = " | ".join(format_interval(metrics[name]) for name in names)
        lines.append(f"| {ARMS[arm][0]} | {cells} |")
    comparison = braindino.compare(list(folders.values()), progress=False)
    lines += ["", "| pretrained less | metric | difference | p (Wilcoxon) |", "|---|---|---|---|"]
    rows = comparison.table[comparison.table["test"] == "Wilcoxon"].to_dict("records")
    for row in rows:
        if row["metric"].split("_")[0] in METRICS:
            interval = format_interval({"value": row["difference"], "low": row["low"], "high": row["high"]})
            second = ARMS[row["second"]][0]
            lines.append(f"| {second} | {row['metric']} | {interval} | {format_p_value(row['p'])} |")
    return [*lines, *(f"\n{note}" for note in [*comparison.notes, *comparison.leakage])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with images and labels")
    parser.add_argument("--work", type=Path, required=True, help="work folder")
    parser.add_argument("--steps", type=int, default=120, help="optimiser steps of every network")
    parser.add_argument("--stage-1-steps", type=int, default=100, help="optimiser steps of stage 1")
    parser.add_argument("--lr", type=float, default=0.005, help="learning rate of every network")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    cohort = crops(options.data, options.work)
    stage_1 = pretrain(cohort, options.work, options.stage_1_steps)
    folders = train(options.work, stage_1, options.steps, options.lr)
    people = cohort.cases.groupby("split")["group"].nunique()
    text = [
        "# Hippocampus in 3-D",
        "",
        f"People: {people['train']} for training, {people['val']} for validation, {people['test']} for test. "
        f"One seed; {options.steps} steps of 2 crops of 32^3 at a learning rate of {options.lr} for every "
        f"network, searched for none; {options.stage_1_steps} steps of stage 1 on the training people. "
        "Networks of 4 million parameters: a demonstration on a CPU, much shorter than a training that is "
        "meant to be good. Weights chosen on validation, twice in a run. Intervals at 95 % from resampling "
        f"people; HD95 in mm, NSD at {NSD_TOLERANCE:g} mm.",
        "",
        *tables(folders),
        "",
        f"    python benchmarks/volumetric_hippocampus.py DATA --work WORK --steps {options.steps} "
        f"--stage-1-steps {options.stage_1_steps} --lr {options.lr}",
    ]
    with atomic_write(options.out) as file:
        file.write("\n".join(text) + "\n")
    print(f"wrote {options.out} after {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
