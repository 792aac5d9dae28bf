"""Segment the hippocampus by a head on a frozen encoder, trained or random, and by a U-Net.

92 T1 crops (Medical Segmentation Decathlon, Task04; labels 1 anterior, 2 posterior) are split by person, 60
% for training. `braindino fit` pretrains a small ViT on the slices of the training people only, from
scratch, by `pretrain_tiny.yaml`. Then the same segmentation head is trained three times (seeds) on it and on
a random encoder of the same shape, both frozen; and, on the same slices with the same loss, augmentation,
epochs and selection, MONAI's U-Net without any encoder. All are evaluated in the crops' native space, on the
same people.

    python benchmarks/hippocampus.py ../shared/data/hippocampus --work hippocampus_work

Writes `benchmarks/results/hippocampus.md`. The same command continues an interrupted run.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Trainer

from braindino.cli.main import main as braindino
from braindino.datasets import Cohort
from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import load_encoder
from braindino.probing import FrozenProbeModule, Protocol, SegmentationHead, run_study

REGIONS = {"anterior": [1], "posterior": [2]}
# Rows and columns of a crop of about 50 x 35 mm, at its resolution of about 1 mm.
SIZE = (48, 32)
VIEWS = "{global_size: 32, global_scale: [0.5, 1.0], local_size: 16, local_scale: [0.2, 0.6], local_crops: 4}"
RESULTS = Path(__file__).parent / "results" / "hippocampus.md"


def trainer(**overrides: Any) -> Trainer:
    return Trainer(accelerator="cpu", devices=1, **overrides)


def command(*arguments: object) -> None:
    """Run one `braindino` verb."""
    print("$ braindino", *arguments, flush=True)
    if code := braindino([str(argument) for argument in arguments]):
        raise SystemExit(f"braindino {arguments[0]} ended with {code}")


def crops(data: Path, work: Path) -> Cohort:
    """Return the crops and their masks as a cohort."""
    images = sorted((data / "images").glob("*.nii.gz"))
    rows = [
        (p.name.removesuffix(".nii.gz"), p.resolve(), (data / "labels" / p.name).resolve()) for p in images
    ]
    pd.DataFrame(rows, columns=["id", "t1", "mask"]).to_csv(work / "crops.csv", index=False)
    return Cohort(
        work / "crops.csv", work / "store", task="segmentation", regions=REGIONS,
        path={"T1w": "t1", "mask": "mask"}, dataset="hippocampus",
    )  # fmt: skip


def pretrain(work: Path, module: Cohort, steps: int) -> Encoder:
    """Return the encoder, pretrained on the training people's slices unless it exists."""
    if not (work / "encoder").exists():
        module.manifest.write(work / "m.csv")
        size = ["--size", str(list(SIZE))]
        command("prepare", work / "m.csv", "--store", work / "store", "--depth", "none", *size)
        module.prepare_data()
        module.setup()
        module.cases[["case", "group", "split"]].to_csv(work / "split.csv", index=False)
        command(
            *("fit", "--config", "pretrain_tiny.yaml", "--data.store", work / "store"),
            *("--data.exclude", work / "split.csv", "--trainer.max_steps", steps, "--model.views", VIEWS),
            *(
                "--run.root",
                work / "runs",
                "--run.id",
                "hippocampus",
                "--trainer.enable_progress_bar",
                "false",
            ),
        )
        command("export", work / "runs" / "pretrain" / "hippocampus", "--out", work / "encoder")
    return load_encoder(str(work / "encoder"))


def table(lines: dict[str, dict[str, Any]]) -> list[str]:
    """Return the results as Markdown."""
    names = ["dice_anterior", "dice_posterior", "hd95_anterior", "hd95_posterior"]
    heads = ["Dice anterior", "Dice posterior", "HD95 anterior, mm", "HD95 posterior, mm"]
    rows = ["| model | labels | " + " | ".join(heads) + " |", "|---" * (2 + len(names)) + "|"]
    for model, result in lines.items():
        for line in result["summary"]:
            cells = []
            for name in names:
                numbers, digits = line["test"]["metrics"][name], 3 if name.startswith("dice") else 2
                value, low, high, sd = (
                    f"{numbers[key]:.{digits}f}" for key in ("value", "low", "high", "sd")
                )
                cells.append(f"{value} [{low}, {high}] sd {sd}")
            rows.append(f"| {model} | {line['fraction']:.0%} | " + " | ".join(cells) + " |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, default=Path("hippocampus_work"))
    parser.add_argument("--steps", type=int, default=400, help="of pretraining")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--fractions", type=float, nargs="+", default=[1.0])
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    spent_file = options.work / "seconds.json"
    spent: dict[str, float] = json.loads(spent_file.read_text()) if spent_file.exists() else {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        try:
            return work()
        finally:
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - started
            spent_file.write_text(json.dumps(spent))

    data = crops(options.data, options.work)
    encoder = timed("pretraining", lambda: pretrain(options.work, data, options.steps))
    protocol = {"seeds": [0, 1, 2], "fractions": options.fractions, "max_epochs": options.epochs}

    def study(name: str, network: Encoder, baselines: bool, unet: bool = False) -> dict[str, Any]:
        module = FrozenProbeModule(name, SegmentationHead(decoder="unet" if unet else "conv"))
        how = Protocol(**protocol, patience=options.epochs, baselines=baselines)
        return run_study(module, data, how, trainer, options.work / "studies" / name, network, progress=True)

    probed = timed("probes", lambda: study("probe", encoder, baselines=True))
    random = encoder.untrained()
    assert random is not None
    unet = timed("U-Net", lambda: study("unet", random, baselines=False, unet=True))
    lines = {
        "head on the pretrained encoder, frozen": probed,
        "head on a random encoder, frozen": probed["baselines"]["untrained_encoder"],
        "U-Net, supervised": unet,
    }
    cases, gains = probed["cases"], probed["baselines"]["untrained_encoder"]["advantage"]
    parts = " ".join(f"{part:g}" for part in options.fractions)
    minutes = ", ".join(f"{name} {seconds / 60:.1f} min" for name, seconds in spent.items())
    page = [
        "# Hippocampus",
        "",
        f"`python benchmarks/hippocampus.py DATA --steps {options.steps} --epochs {options.epochs} "
        f"--fractions {parts}` on {date.today()}, {torch.get_num_threads()} thread(s) of a CPU of "
        f"{os.cpu_count()} cores shared with other work: {minutes}.",
        "",
        f"People: {cases['train']['people']} for training (and pretraining), {cases['val']['people']} for "
        f"validation, {cases['test']['people']} for test. Mean of three seeds [95 % interval from "
        "resampling people] sd over seeds; in each crop's native space.",
        "",
        *table(lines),
        "",
        *(
            f"Pretrained minus random at {gain['fraction']:.0%} of the labels: Dice {gain['value']:+.3f} "
            f"[{gain['low']:+.3f}, {gain['high']:+.3f}]."
            for gain in gains
        ),
    ]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("\n".join(page) + "\n")
    print(*page, sep="\n")


if __name__ == "__main__":
    main()
