"""Segment the hippocampus by decoders on a frozen encoder, their controls, and a U-Net.

92 T1 crops (Medical Segmentation Decathlon, Task04; labels 1 anterior, 2 posterior) are split by person, 60 %
for training; with `--folds 5` every person is tested once. All crops are stretched to one size and evaluated
in their native space. The arms are those of dense_arms.py. `--encoder` is a folder, used on slices of the
crops' size, or `pretrain`: a tiny ViT that `braindino fit` pretrains from scratch, by `pretrain_tiny.yaml`,
on the slices of the training people only, with folds once for each fold.

    python benchmarks/hippocampus.py ../shared/data/hippocampus --work hippocampus_work \
        --fractions 0.05 0.1 0.25 1

Writes `benchmarks/results/hippocampus.md`. The same command continues an interrupted run, and may run
several times at once.
"""

import argparse
from functools import cache
from pathlib import Path

import pandas as pd
from dense_arms import Benchmark, file_lock, resized
from dense_report import options_of, run_benchmark, settings_of

from braindino.cli.main import main as braindino
from braindino.datasets import Cohort
from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import load_encoder
from braindino.files import atomic_write

REGIONS = {"anterior": [1], "posterior": [2]}
# Rows and columns of a crop of about 50 x 35 mm, at its resolution of about 1 mm.
SIZE = (48, 32)
VIEWS = "{global_size: 32, global_scale: [0.5, 1.0], local_size: 16, local_scale: [0.2, 0.6], local_crops: 4}"
RESULTS = Path(__file__).parent / "results" / "hippocampus.md"
PRETRAIN = "pretrain"


def command(*arguments: object) -> None:
    """Run one `braindino` verb."""
    print("$ braindino", *arguments, flush=True)
    if code := braindino([str(argument) for argument in arguments]):
        raise SystemExit(f"braindino {arguments[0]} ended with {code}")


def crops(data: Path, work: Path, folds: int | None, fold: int | None, split: Path | None = None) -> Cohort:
    """Return the crops and their masks as a cohort.

    Args:
        data: folder with `images` and `labels`.
        work: work folder.
        folds: number of folds; None for one split.
        fold: the fold that is tested.
        split: table of another split.
    """
    images = sorted((data / "images").glob("*.nii.gz"))
    rows = [
        (p.name.removesuffix(".nii.gz"), p.resolve(), (data / "labels" / p.name).resolve()) for p in images
    ]
    table = pd.DataFrame(rows, columns=["id", "t1", "mask"])
    with atomic_write(work / "crops.csv") as file:
        file.write(table.to_csv(index=False))
    return Cohort(
        work / "crops.csv", work / "store", task="segmentation", regions=REGIONS,
        path={"T1w": "t1", "mask": "mask"}, dataset="hippocampus", folds=folds, fold=fold, split_file=split,
        prepare=True,
    )  # fmt: skip


def pretrain(work: Path, module: Cohort, fold: int | None, steps: int) -> Path:
    """Pretrain a tiny ViT on the training people's slices unless it exists; return its folder."""
    name = "encoder" if fold is None else f"encoder_fold{fold}"
    with file_lock(work / "pretraining.lock", wait=True):
        if (work / name / "config.json").is_file():
            return work / name
        module.manifest.write(work / "m.csv")
        size = ["--size", str(list(SIZE))]
        command("prepare", work / "m.csv", "--store", work / "store", "--depth", "none", *size)
        module.prepare_data()
        module.setup()
        module.cases[["case", "group", "split"]].to_csv(work / f"{name}.csv", index=False)
        command(
            *("fit", "--config", "pretrain_tiny.yaml", "--data.store", work / "store"),
            *("--data.exclude", work / f"{name}.csv", "--trainer.max_steps", steps, "--model.views", VIEWS),
            *("--run.root", work / "runs", "--run.id", name, "--trainer.enable_progress_bar", "false"),
        )
        command("export", work / "runs" / "pretrain" / name, "--out", work / name)
    return work / name


def benchmark_of(options: argparse.Namespace) -> Benchmark:
    """Return the crops and the encoder that the options of the command choose."""
    folds = options.folds

    def data(fold: int | None) -> Cohort:
        return crops(options.data, options.work, folds, fold)

    @cache
    def encoder(fold: int | None) -> Encoder:
        if options.encoder == PRETRAIN:
            return load_encoder(str(pretrain(options.work, data(fold), fold, options.pretrain_steps)))
        return resized(load_encoder(options.encoder), size=SIZE, spacing=None, depth=None)

    return Benchmark(options.work, settings_of(options), data, encoder)


def notes_of(options: argparse.Namespace, benchmark: Benchmark) -> list[str]:
    """Return a paragraph about people and encoder."""
    data = benchmark.data(benchmark.folds[0])
    data.prepare_data()
    data.setup()
    people = data.cases.groupby("split")["group"].nunique()
    which = f"`{options.encoder}`, on slices of {SIZE[0]} x {SIZE[1]} pixels"
    if options.encoder == PRETRAIN:
        which = f"pretrained for {options.pretrain_steps} steps on the slices of the training people only"
    test = f"{len(data.cases)} people, each tested once in {options.folds} folds" if options.folds else (
        f"People: {people['train']} for training, {people['val']} for validation, {people['test']} for test"
    )  # fmt: skip
    return [f"{test}. Encoder: {which}."]


def main() -> None:
    parser = options_of(__doc__, RESULTS)
    parser.add_argument("--folds", type=int, help="cross-validation: every person is tested once")
    parser.add_argument("--pretrain-steps", type=int, default=400, help="with --encoder pretrain")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    benchmark = benchmark_of(options)
    run_benchmark(benchmark, options, "Hippocampus", lambda: notes_of(options, benchmark))


if __name__ == "__main__":
    main()
