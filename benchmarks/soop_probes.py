"""Compare probes on 716 real slices with PCA and with a network trained from scratch.

Age, sex, prior stroke and mRS >= 3 from one FLAIR slice of each stroke patient, at 10, 25, 50 and 100 % of
the labels. For each of three seeds a part of the people is held out: they are in neither the pretraining of
the encoder nor any training. Encoders are those of `soop_learning.py` in the same work folder, pretrained
here if they do not exist. The labelled people of every fraction are the same for every method:

- probe: `RidgeHead` or `LogisticHead` on the frozen encoder's CLS and mean patch token, tuned on validation;
- the same on the encoder's shape with random weights, and a model of age, sex and site (`probe.baselines`);
- PCA of pixels reduced four times, then ridge or logistic regression, tuned on validation;
- a residual CNN (MONAI's `Regressor`, 8 to 64 channels) trained on the slices, flipped at random; its epoch
  chosen on validation.

    python benchmarks/soop_probes.py ../shared/data/soop --work soop_work

Writes `benchmarks/results/soop_probes.md`. The same command continues an interrupted run.
"""

import argparse
import os
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from dense_arms import trainer
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from soop_learning import HELD_OUT, HERE, cohort_of, options_of, parts_of, pretrained, slices_of
from torch.nn import functional

from braindino.analysis.metrics.headlines import headlines
from braindino.analysis.results import summarise
from braindino.datasets import Cohort
from braindino.encoders.checkpoints import load_encoder
from braindino.probing import (
    FrozenProbeModule,
    LogisticHead,
    MeanPooling,
    Protocol,
    RidgeHead,
    run_study,
)
from braindino.probing.cell import Cell
from braindino.probing.cell_training import prediction_rows, reported_parts
from braindino.probing.data.cases import ProbeCases
from braindino.probing.heads.base import Head
from braindino.probing.heads.classification import classification_rows
from braindino.probing.heads.regression import regression_rows
from braindino.probing.study_cells import run_cells

TASKS = {"age": "age", "sex": "sex", "prior_stroke": "prior stroke", "poor": "mRS >= 3"}
RESULTS = HERE / "results" / "soop_probes.md"
STRENGTHS = 10.0 ** np.arange(-3, 5)
Predict = Callable[[np.ndarray], np.ndarray]


def table_of(data: Path, work: Path) -> Path:
    """Write the cohort's table with absolute paths and mRS as a class; return its path."""
    table = pd.read_csv(data / "cohort.csv")
    table["poor"] = np.where(table["mrs"].isna(), "", (table["mrs"] >= 3).astype(int).astype(str))
    table["flair"] = [str((data / name).resolve()) for name in table["flair"]]
    table.to_csv(work / "probes.csv", index=False)
    return work / "probes.csv"


def split_of(seed: int, work: Path) -> Path:
    """Write the split, with held-out people in test and a fifth of the others in validation."""
    cohort = pd.read_csv(work / "soop.csv")
    parts = parts_of(cohort).to_numpy()
    test = np.isin(parts, HELD_OUT[seed])
    val = ~test & (np.random.default_rng(seed).random(len(cohort)) < 0.2)
    file = work / f"split_{seed}.csv"
    split = np.where(test, "test", np.where(val, "val", "train"))
    pd.DataFrame({"group": "cohort:" + cohort["subject"], "split": split}).to_csv(file, index=False)
    return file


def data_of(task: str, seed: int, work: Path) -> Cohort:
    """Return the slices with one of the labels; people without it are excluded."""
    return Cohort(
        work / "probes.csv", work / "store", task="regression" if task == "age" else "classification",
        target=task, path={"FLAIR": "flair"}, id="subject", dataset="cohort", split_file=split_of(seed, work),
    )  # fmt: skip


def best(fits: list[Predict], x: np.ndarray, y: np.ndarray, classes: bool) -> Predict:
    """Return the model that is best on the validation part, by AUROC or mean absolute error."""

    def quality(predict: Predict) -> float:
        return float(roc_auc_score(y, predict(x)) if classes else -np.abs(predict(x) - y).mean())

    return max(fits, key=quality)


def pca(x: np.ndarray, y: np.ndarray, xv: np.ndarray, yv: np.ndarray, classes: bool, seed: int) -> Predict:
    """Return a linear model on PCA of pixels; its size and penalty are chosen on validation."""
    flat = functional.avg_pool2d(torch.from_numpy(x), 2).flatten(1).numpy()
    fits = []
    for size in (20, 50):
        for strength in STRENGTHS:
            model = LogisticRegression(C=1 / strength, max_iter=2000) if classes else Ridge(strength)
            pipeline = make_pipeline(PCA(min(size, len(flat) - 1), random_state=0), StandardScaler(), model)
            pipeline.fit(flat, y)

            def predict(images: np.ndarray, fitted: Any = pipeline) -> np.ndarray:
                rows = functional.avg_pool2d(torch.from_numpy(images), 2).flatten(1).numpy()
                return fitted.predict_proba(rows)[:, 1] if classes else fitted.predict(rows)

            fits.append(predict)
    return best(fits, xv, yv, classes)


def cnn(x: np.ndarray, y: np.ndarray, xv: np.ndarray, yv: np.ndarray, classes: bool, seed: int) -> Predict:
    """Train a residual network: AdamW, at most 40 epochs, the best epoch on validation."""
    from monai.networks.nets import Regressor

    torch.manual_seed(seed)
    net = Regressor(x.shape[1:], (1,), channels=(8, 16, 32, 64), strides=(2, 2, 2, 2), dropout=0.2)
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=1e-2)
    mean, spread = (0.0, 1.0) if classes else (float(y.mean()), float(y.std()))
    images, target = torch.from_numpy(x), torch.from_numpy((y - mean) / spread).float()

    def predict(values: np.ndarray) -> np.ndarray:
        net.eval()
        with torch.inference_mode():
            given = torch.from_numpy(values)
            output = torch.cat([net(part) for part in given.split(128)])[:, 0].double()
        return (torch.sigmoid(output) if classes else output * spread + mean).numpy()

    weights, top, waited = None, -np.inf, 0
    for _ in range(40):
        net.train()
        for rows in torch.randperm(len(images)).split(16):
            batch = images[rows]
            flip = torch.rand(len(batch)) < 0.5
            batch = torch.where(flip[:, None, None, None], batch.flip(3), batch)
            output = net(batch)[:, 0]
            loss = functional.binary_cross_entropy_with_logits if classes else functional.mse_loss
            optimiser.zero_grad()
            loss(output, target[rows]).backward()
            optimiser.step()
        now = predict(xv)
        quality = roc_auc_score(yv, now) if classes else -np.abs(now - yv).mean()
        waited += 1
        if quality > top:
            weights, top, waited = {k: v.clone() for k, v in net.state_dict().items()}, quality, 0
        if waited == 8:
            break
    assert weights is not None
    net.load_state_dict(weights)
    return predict


def supervised(how: Any, cases: ProbeCases, images: np.ndarray, head: Head) -> Callable[[Cell], None]:
    """Return a function that runs a cell by `how`, with the people of all other methods."""

    def run(cell: Cell) -> None:
        train, val = cases.labelled(cell.fraction, cell.seed), cases.part("val")
        shown = pd.concat(reported_parts(cases, train, head.task))
        target = cases.target.numpy().astype(np.float64)
        (x, y), (xv, yv) = ((images[part.index], target[part.index]) for part in (train, val))
        made = how(x, y, xv, yv, bool(cases.classes), cell.seed)(images[shown.index])
        both = np.column_stack([1 - made, made])
        rows = (
            classification_rows(both, shown, cases.classes) if cases.classes else regression_rows(made, shown)
        )
        facts = {"train_cases": len(train), "train_people": int(train["group"].nunique())}
        cell.write(prediction_rows(shown, rows, cell), facts)

    return run


def one_seed(task: str, seed: int, encoder: Any, given: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the results of every method on one task, with one seed and its held-out people."""
    data, folder = data_of(task, seed, given.work), given.work / "probes" / task / f"seed{seed}"
    protocol = Protocol(seeds=[seed], fractions=given.fractions, resamples=0)
    head = RidgeHead() if task == "age" else LogisticHead(class_weights="balanced")
    module = FrozenProbeModule("soop", head, MeanPooling(patches=True))
    probe = run_study(module, data, protocol, trainer, folder / "probe", encoder)
    cases = ProbeCases.of(data, head, "mask")
    table = cases.table.assign(subject=cases.table["case"].str.split(":").str[1])
    images = slices_of(given.work / "store", table).numpy()
    methods = {"probe": probe, **probe["baselines"]}
    for name, how in (("PCA + linear", pca), ("CNN from scratch", cnn)):
        place = folder / name.split()[0].lower()
        asked = [Cell(place / "cells", seed, fraction) for fraction in given.fractions]
        predictions, facts = run_cells(place, asked, supervised(how, cases, images, head))
        methods[name] = summarise(predictions, facts, 0)
    return methods


def main() -> None:
    parser = options_of(__doc__)
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.1, 0.25, 0.5, 1.0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    started = time.perf_counter()
    cohort = cohort_of(given, {"store": given.size})
    table_of(given.data, given.work)
    encoders = {
        seed: load_encoder(str(pretrained(seed, given, cohort, parts_of(cohort)))) for seed in given.seeds
    }
    lines = ["| task | labels | method | mean over seeds | sd | seeds |", "|---" * 6 + "|"]
    for task in given.tasks:
        seeds = [one_seed(task, seed, encoders[seed], given) for seed in given.seeds]
        kind, classes = seeds[0]["probe"]["task"], seeds[0]["probe"]["classes"]
        metric = headlines(kind, classes)[0]
        for number, fraction in enumerate(given.fractions):
            for method in seeds[0]:
                values = np.array(
                    [each[method]["summary"][number]["test"]["metrics"][metric]["value"] for each in seeds],
                    dtype=float,
                )
                listed = ", ".join(f"{value:.3f}" for value in values)
                sd = f"{values.std(ddof=1):.3f}" if len(values) > 1 else ""
                lines.append(
                    f"| {TASKS[task]}, {metric} | {fraction:.0%} | {method} "
                    f"| {values.mean():.3f} | {sd} | {listed} |"
                )
    page = [
        "# Probes on SOOP",
        "",
        f"`python benchmarks/soop_probes.py DATA --work soop_work --tasks {' '.join(given.tasks)}` on "
        f"{date.today()}, {torch.get_num_threads()} thread(s) of a CPU of {os.cpu_count()} cores shared with "
        f"other work (load {os.getloadavg()[0]:.1f}); this call took "
        f"{(time.perf_counter() - started) / 60:.1f} min.",
        "",
        "Each seed has different held-out and labelled people, the same for every method.",
        "",
        *lines,
    ]
    given.out.parent.mkdir(exist_ok=True)
    given.out.write_text("\n".join(page) + "\n")
    print(*page, sep="\n")


if __name__ == "__main__":
    main()
