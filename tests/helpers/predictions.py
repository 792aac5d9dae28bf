"""Synthetic predictions and run folders for tests of comparisons and reports."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from braindino.analysis.predictions import class_names, format_predictions
from braindino.analysis.results import add_details, advantage, metrics_table, summarise
from braindino.files import write_json

CLASSES = ("CN", "MCI", "AD")


def people(cases: int, visits: int = 1, seed: int = 0) -> pd.DataFrame:
    """Return `case`, `group`, `split` (val or test) and traits, sorted by person."""
    rng = np.random.default_rng(seed)
    person = np.arange(cases) // visits
    age = rng.uniform(55, 90, size=cases)
    return pd.DataFrame(
        {
            "case": [f"made:{i:03d}:{v}" for i, v in zip(person, np.arange(cases) % visits, strict=True)],
            "group": [f"made:{i:03d}" for i in person],
            "split": np.where(person // 3 % 3 == 0, "val", "test"),
            "dataset": "made",
            "site": np.where(person % 2 == 0, "north", "south"),
            "sex": np.where(person % 4 < 2, "F", "M"),
            "age": age[person].round(1),
        }
    )


def classification(
    cases: int = 120,
    signal: float = 1.0,
    seed: int = 0,
    fraction: float = 1.0,
    visits: int = 1,
    classes: Sequence[str] = CLASSES,
) -> pd.DataFrame:
    """Return a cell of a classification; a case has the same label for every seed and signal."""
    table = people(cases, visits)
    target = (np.arange(cases) // visits) % len(classes)
    common = np.random.default_rng(1).normal(size=(cases, len(classes)))
    noise = np.random.default_rng(100 + seed).normal(size=(cases, len(classes)))
    raw = np.exp(0.8 * common + 0.6 * noise + signal * np.eye(len(classes))[target])
    probability = raw / raw.sum(axis=1, keepdims=True)
    names = np.array(classes)
    columns = {f"prob_{name}": probability[:, i] for i, name in enumerate(classes)}
    labels = {"target": names[target], "prediction": names[probability.argmax(axis=1)]}
    return table.assign(seed=seed, fraction=fraction, **labels, **columns)


def regression(
    cases: int = 120, noise: float = 5.0, seed: int = 0, fraction: float = 1.0, visits: int = 1
) -> pd.DataFrame:
    """Return a cell of a brain age."""
    table = people(cases, visits)
    error = np.random.default_rng(1).normal(size=cases)
    error += 0.5 * np.random.default_rng(100 + seed).normal(size=cases)
    prediction = 20 + 0.7 * table["age"] + noise * error
    return table.assign(seed=seed, fraction=fraction, target=table["age"], prediction=prediction)


def brain_ages(cases: int = 60, seed: int = 0) -> pd.DataFrame:
    """Return test rows of a brain age, predicted as 30 + 0.5 age with a deviation of a year."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(20, 90, size=cases)
    names = [f"p{index:03d}" for index in range(cases)]
    return pd.DataFrame(
        {
            "case": names,
            "group": names,
            "split": "test",
            "seed": 0,
            "fraction": 1.0,
            "target": age,
            "prediction": 30 + 0.5 * age + rng.normal(size=cases),
            "sex": np.where(np.arange(cases) < 25, "F", np.where(np.arange(cases) < 55, "M", "")),
            "age": np.where(np.arange(cases) == 0, np.nan, age),
        }
    )


def survival(cases: int = 120, signal: float = 1.0, seed: int = 0, fraction: float = 1.0) -> pd.DataFrame:
    """Return a cell of a survival task, with training cases."""
    table = people(cases)
    table["split"] = np.array(["train", "val", "test", "test"])[np.arange(cases) % 4]
    rng = np.random.default_rng(2)
    hazard = rng.normal(size=cases)
    time = np.ceil(rng.exponential(400 * np.exp(-hazard)))
    limit = np.ceil(rng.uniform(100, 900, size=cases))
    risk = signal * hazard + np.random.default_rng(100 + seed).normal(size=cases)
    events = {"time": np.minimum(time, limit), "event": (time <= limit).astype(int)}
    return table.assign(seed=seed, fraction=fraction, risk=risk, **events)


def segmentation(
    cases: int = 36,
    level: float = 0.8,
    seed: int = 0,
    fraction: float = 1.0,
    regions: Sequence[str] = ("whole", "core"),
    counted: bool = False,
) -> pd.DataFrame:
    """Return a cell of a segmentation: a row per case and region; with all later columns if `counted`."""
    table = people(cases).loc[np.repeat(np.arange(cases), len(regions))].reset_index(drop=True)
    rng = np.random.default_rng(100 + seed)
    dice = np.clip(rng.normal(level, 0.1, size=len(table)), 0.05, 1)
    true = np.random.default_rng(1).uniform(1, 9, size=len(table))
    measured = {"dice": dice, "hd95": 3 + 5 * (1 - dice), "true_ml": true, "predicted_ml": true * (2 - dice)}
    if counted:
        extra = np.round(10 * (1 - dice))
        measured |= {"true_lesions": np.full(len(table), 3.0), "predicted_lesions": 3 + extra}
        measured |= {
            "lesion_f1": 6 / (6 + extra),
            "rq": 4 / (6 + extra),
            "sq": dice,
            "pq": 4 / (6 + extra) * dice,
        }
        measured |= {"nsd": dice**2, "nsd_tolerance": np.full(len(table), 2.0)}
    return table.assign(seed=seed, fraction=fraction, region=list(regions) * cases, **measured)


def cells(
    make: Callable[..., pd.DataFrame],
    seeds: Sequence[int] = (0, 1),
    fractions: Sequence[float] = (1.0,),
    **options: Any,
) -> pd.DataFrame:
    """Return several cells in one table.

    Args:
        make: one of the functions above.
        seeds: of the cells.
        fractions: label fractions of the cells.
        options: further arguments of `make`.
    """
    return pd.concat(
        [make(seed=s, fraction=f, **options) for f in fractions for s in seeds], ignore_index=True
    )


def write_run(
    folder: Path | str,
    table: pd.DataFrame,
    task: str = "classification",
    target: str = "diagnosis",
    baseline: pd.DataFrame | None = None,
    resamples: int = 100,
    reasons: Mapping[str, int] | None = None,
) -> Path:
    """Write a run folder as `braindino probe` does, and return its path.

    Args:
        folder: `<root>/<task name>/<encoder>/<id>`.
        table: rows of predictions.csv.
        task: kind of task.
        target: column of the label.
        baseline: rows of predictions.csv of a baseline "age_sex_site".
        resamples: draws of people for the intervals.
        reasons: reason -> number of dropped scans.
    """
    folder = Path(folder)
    folder.mkdir(parents=True)
    facts: list[dict[str, Any]] = [
        {"seed": int(s), "fraction": float(f), "train_cases": round(200 * f), "train_people": round(180 * f)}
        for s, f in table[["seed", "fraction"]].drop_duplicates().itertuples(index=False)
    ]
    results = _results(folder, table, facts, task, target, resamples, reasons or {})
    if baseline is not None:
        results["baselines"]["age_sex_site"] = {
            **summarise(baseline, facts, resamples),
            "advantage": advantage(table, baseline, task, resamples),
        }
        place = folder / "baselines" / "age_sex_site"
        place.mkdir(parents=True)
        (place / "predictions.csv").write_text(format_predictions(baseline))
    write_json(folder / "results.json", results)
    (folder / "predictions.csv").write_text(format_predictions(table))
    metrics_table(results).to_csv(folder / "metrics.csv", index=False)
    name = folder.parent.parent.name
    config = {"run": {"name": name}, "probe": {"seeds": sorted({f["seed"] for f in facts})}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    start = {
        "started": "2026-01-02T03:04:05+00:00",
        "command": ["braindino", "probe", "--config", f"{name}.yaml", "--data.root", "my scans"],
        "folder": "/home/user",
        "braindino": "0.1.0",
        "commit": None,
        "python": "3.12.1",
        "platform": "Linux",
        "versions": {"torch": "2.8.0", "numpy": "2.0.2"},
        "devices": ["cpu"],
        "threads": 1,
    }
    write_json(folder / "environment.json", {"starts": [start]})
    return folder


def _results(
    folder: Path,
    table: pd.DataFrame,
    facts: list[dict[str, Any]],
    task: str,
    target: str,
    resamples: int,
    reasons: Mapping[str, int],
) -> dict[str, Any]:
    """Return the content of results.json, without baselines."""
    parts = table.drop_duplicates("case").groupby("split")
    results: dict[str, Any] = {
        "task": task,
        "target": [target],
        "classes": list(table["region"].unique()) if task == "segmentation" else list(class_names(table)),
        "encoder": {"name": f"encoders/{folder.parent.name}", "digest": "0" * 64},
        "selection": "epoch chosen on validation, test evaluated once",
        "cases": {part: {"cases": len(t), "people": t["group"].nunique()} for part, t in parts},
        "folds": None,
        "asked": {
            "seeds": sorted({f["seed"] for f in facts}),
            "fractions": sorted({f["fraction"] for f in facts}),
        },
        "dropped": {"scans": sum(reasons.values()), "cases": 0, "reasons": dict(reasons)},
        "audit": {"shared_scans": [], "shared_scans_across_parts": 0, "pretraining": None},
        **summarise(table, facts, resamples),
        "baselines": {},
    }
    add_details(results, table, resamples)
    return results
