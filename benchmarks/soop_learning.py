"""Does pretraining on 716 real slices teach anything? Held-out age and mRS, against random weights and PCA.

For each seed a part of the labelled people is held out: their slices are in neither the pretraining nor the
training of a probe. A small ViT is pretrained from scratch on everyone else's slices by `braindino fit`, with
a shipped recipe and a file of sizes laid over it, exported, and probed: ridge regression (age) and logistic
regression (mRS >= 3) on the CLS token, the mean patch token, or both. Which of the three, and how strong the
regularisation, is decided by cross-validation over the training people, for the pretrained encoder and for
random weights of the same shape alike. PCA (its size chosen likewise) on pixels reduced four times is the
floor. The people of the development part took part in the search for the recipe and are never tested on.

    python benchmarks/soop_learning.py ../shared/data/soop --work soop_work

A run that is interrupted is continued by the same command: finished seeds are not trained again.
"""

import argparse
import json
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from braindino.cli.main import main as braindino
from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.vit import ViTEncoder, create_vit
from braindino.files import atomic_write, write_json
from braindino.scans.preprocessing import decode
from braindino.scans.store.store import Store

HERE = Path(__file__).parent
PARTS, DEVELOPMENT = 9, 3  # of the labelled people; the first three are for the search
HELD_OUT = {0: (3, 4), 1: (5, 6), 2: (7, 8)}  # parts by seed: every other person is tested on once
ALPHAS, CS = np.logspace(-1, 5, 13), np.logspace(-4.5, 0, 10)
TWINS = 3  # random initialisations per seed, whose predictions are scored one by one and averaged
Table = dict[str, np.ndarray]


def command(*arguments: object) -> None:
    """One `braindino` verb."""
    print("$ braindino", *arguments, flush=True)
    if code := braindino([str(argument) for argument in arguments]):
        raise SystemExit(f"braindino {arguments[0]} ended with {code}")


def parts_of(cohort: pd.DataFrame) -> pd.Series:
    """Part 0-8 of every labelled person, by subject, balanced in mRS; -1 without labels."""
    labelled = cohort[cohort["age"].notna()].sort_values("subject")
    strata = np.where(labelled["mrs"].isna(), 2, labelled["mrs"] >= 3)
    parts = pd.Series(-1, index=cohort["subject"])
    folds = StratifiedKFold(PARTS, shuffle=True, random_state=0)
    for part, (_, rows) in enumerate(folds.split(strata, strata)):
        parts[labelled["subject"].iloc[rows]] = part
    return parts


def slices_of(store: Path, cohort: pd.DataFrame) -> torch.Tensor:
    """The one slice of every person as encoders see it: (people, 1, H, W)."""
    opened = Store.open(store)
    index = opened.index().drop_duplicates("subject").set_index("subject").loc[cohort["subject"]]
    raw = np.stack([opened.slice(key, 0) for key in index["key"]])
    scale, zero_point = (torch.tensor(index[name].to_numpy(np.float32)) for name in ("scale", "zero_point"))
    return decode(torch.from_numpy(raw), scale, zero_point).unsqueeze(1)


@torch.no_grad()
def features_of(encoder: Encoder, slices: torch.Tensor, depth: int) -> Table:
    """CLS token, mean patch token after the final norm, and both: each (people, features) float64."""
    rows = []
    for batch in slices.split(64):
        patches = encoder.patch_maps(batch, [depth - 1])[0].mean(dim=(2, 3))
        rows.append(torch.cat([encoder(batch), patches], dim=1).double().numpy())
    both = np.concatenate(rows)
    return {"CLS": both[:, : encoder.embed_dim], "patches": both[:, encoder.embed_dim :], "both": both}


def searched(task: str, first: Any, sizes: dict[str, Any], x: np.ndarray, y: np.ndarray) -> GridSearchCV:
    """A probe whose regularisation is chosen by 5-fold cross-validation, fitted on all rows given."""
    if task == "age":
        model, grid = Ridge(), {"model__alpha": ALPHAS}
        folds, score = KFold(5, shuffle=True, random_state=0), "neg_mean_absolute_error"
    else:
        model, grid = LogisticRegression(max_iter=1000), {"model__C": CS}
        folds, score = StratifiedKFold(5, shuffle=True, random_state=0), "roc_auc"
    steps = Pipeline([("first", first), ("scale", StandardScaler()), ("model", model)])
    return GridSearchCV(steps, {**grid, **sizes}, scoring=score, cv=folds).fit(x, y)


def predicted(task: str, model: GridSearchCV, x: np.ndarray) -> np.ndarray:
    """Years, or the logit of mRS >= 3."""
    values: np.ndarray = model.predict(x) if task == "age" else model.decision_function(x)
    return values


def predictions(task: str, choices: Table, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> Table:
    """Of the test people, by every feature, and by the one that cross-validation chooses ("chosen")."""
    fitted = {name: searched(task, "passthrough", {}, x[train], y[train]) for name, x in choices.items()}
    made = {name: predicted(task, model, choices[name][test]) for name, model in fitted.items()}
    return {**made, "chosen": made[max(fitted, key=lambda name: fitted[name].best_score_)]}


def floor(task: str, pixels: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """PCA on the training people's pixels, its size chosen with the regularisation; test predictions."""
    sizes = {"first__n_components": [40, 50, 60]}
    fitted = searched(task, PCA(random_state=0), sizes, pixels[train], y[train])
    return predicted(task, fitted, pixels[test])


def pretrained(seed: int, given: argparse.Namespace, cohort: pd.DataFrame, parts: pd.Series) -> Path:
    """Pretrain without the seed's held-out people and export; nothing is done again that is there already."""
    encoder = given.work / f"encoder_{seed}"
    if (encoder / "config.json").is_file():
        return encoder
    held_out = given.work / f"held_out_{seed}.txt"
    people = cohort["group"][parts.isin(HELD_OUT[seed]).to_numpy()]
    held_out.write_text("".join(f"{person}\n" for person in people))
    continued = (given.work / "runs" / f"seed{seed}").exists()
    run = ["--run.root", given.work / "runs", "--run.name", f"seed{seed}", "--run.id", f"seed{seed}"]
    configs = [part for config in given.config for part in ("--config", config)]
    data = ["--data.store", given.work / "store", "--data.exclude", held_out]
    seeds = ["--seed_everything", seed, "--data.seed", seed, "--model.seed", seed]
    began = time.time(), time.process_time()
    command("fit", *configs, *data, *run, *seeds)
    spent = {"minutes": (time.time() - began[0]) / 60, "cpu_minutes": (time.process_time() - began[1]) / 60}
    spent["continued"] = continued
    command("export", given.work / "runs" / f"seed{seed}" / f"seed{seed}", "--out", encoder)
    write_json(given.work / f"time_{seed}.json", spent)
    return encoder


def cell(seed: int, given: argparse.Namespace, cohort: pd.DataFrame, parts: pd.Series) -> pd.DataFrame:
    """Test predictions of everything compared, one row per task, method and person."""
    kept = given.work / f"predictions_{seed}.csv"
    if kept.is_file():
        return pd.read_csv(kept)
    encoder = load_encoder(str(pretrained(seed, given, cohort, parts)))
    assert isinstance(encoder, ViTEncoder)
    assert encoder.pretraining_people is not None
    held_out = cohort["group"][parts.isin(HELD_OUT[seed]).to_numpy()]
    if seen := sorted(encoder.pretraining_people & set(held_out)):
        raise SystemExit(
            f"seed {seed}: {len(seen)} held-out people were seen in pretraining, {seen[0]} first"
        )
    slices = slices_of(given.work / "store", cohort)
    fine = slices_of(given.work / "store_pixels", cohort)
    pixels = torch.nn.functional.avg_pool2d(fine, 4).flatten(1).double().numpy()
    depth = len(encoder.model.blocks)  # type: ignore[arg-type]
    features = {"pretrained": features_of(encoder, slices, depth)}
    for twin in range(TWINS):
        torch.manual_seed(1000 * seed + twin)
        model = create_vit(encoder.architecture, **encoder.model_args)
        bare = ViTEncoder(model, encoder.preprocessing, encoder.architecture, encoder.model_args)
        features[f"random {twin}"] = features_of(bare, slices, depth)
    rows = []
    for task in ("age", "mrs"):
        y = cohort["age"].to_numpy() if task == "age" else (cohort["mrs"] >= 3).to_numpy()
        known = cohort[task].notna().to_numpy() & (parts >= 0).to_numpy()
        test = known & parts.isin(HELD_OUT[seed]).to_numpy()
        train = known & ~test
        made = {"constant": np.full(test.sum(), np.median(y[train]))}
        made["PCA floor"] = floor(task, pixels, y, train, test)
        for name, choices in features.items():
            for choice, values in predictions(task, choices, y, train, test).items():
                made[f"{name}: {choice}"] = values
        for method, values in made.items():
            people = pd.DataFrame({"subject": cohort["subject"][test], "true": y[test].astype(float)})
            rows.append(people.assign(seed=seed, task=task, method=method, predicted=values))
    table = pd.concat(rows, ignore_index=True)
    with atomic_write(kept) as file:
        table.to_csv(file, index=False)
    return table


def names_of(method: str) -> list[str]:
    """The columns that a line of the report stands for: the random twins are several."""
    return [method.replace("random", f"random {i}") for i in range(TWINS)] if "random" in method else [method]


class Resampling:
    """Scores of a task from weights on people: how often each is drawn, or 1 for everyone."""

    def __init__(self, table: pd.DataFrame, task: str, draws: int = 2000) -> None:
        self.seeds: list[int] = []
        self.people: list[int] = []
        self.scores: dict[str, list[np.ndarray]] = {}  # method -> by seed (1 + draws,), the first unweighted
        generator = np.random.default_rng(0)
        for seed, rows in table[table["task"] == task].groupby("seed"):
            wide = rows.pivot_table("predicted", "subject", "method")
            y = rows.drop_duplicates("subject").set_index("subject")["true"].loc[wide.index].to_numpy()
            weights = generator.multinomial(len(y), np.full(len(y), 1 / len(y)), size=draws)
            weights = np.concatenate([np.ones((1, len(y)), int), weights])
            self.seeds.append(int(str(seed)))
            self.people.append(len(y))
            for method in wide:
                score = error if task == "age" else area
                self.scores.setdefault(str(method), []).append(score(y, wide[method].to_numpy(), weights))

    def of(self, method: str) -> np.ndarray:
        """(seeds, 1 + draws); of the random twins, the mean of their scores."""
        return np.mean([self.scores[name] for name in names_of(method)], axis=0)

    def difference(self, ours: str, theirs: str) -> str:
        """Ours less theirs, mean over seeds, with a 95 % interval over each seed's held-out people."""
        values = self.of(ours).mean(axis=0) - self.of(theirs).mean(axis=0)
        low, high = np.percentile(values[1:], [2.5, 97.5])
        return f"{values[0]:+.3f} [{low:+.3f}, {high:+.3f}]"


def error(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean absolute error: (people,), (people,), (draws, people) -> (draws,)."""
    return weights @ np.abs(prediction - y) / weights.sum(axis=1)


def area(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted area under the ROC curve: the share of pairs in the right order, ties one half."""
    high, low = prediction[y == 1][:, None], prediction[y == 0][None, :]
    right = (high > low) + 0.5 * (high == low)
    positive, negative = weights[:, y == 1], weights[:, y == 0]
    return ((positive @ right) * negative).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))


def options_of(description: str | None) -> argparse.ArgumentParser:
    """The options of every benchmark on these slices, which share a work folder and its encoders."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the folder with cohort.csv and nifti/")
    parser.add_argument("--work", type=Path, default=Path("soop_work"), help="folder that is continued in")
    parser.add_argument("--config", nargs="+", default=["pretrain_small.yaml", HERE / "soop_cpu.yaml"])
    parser.add_argument("--size", default="[48, 40]", help="rows and columns of the slices")
    parser.add_argument("--seeds", nargs="+", type=int, default=sorted(HELD_OUT), choices=sorted(HELD_OUT))
    return parser


def cohort_of(given: argparse.Namespace, stores: dict[str, str]) -> pd.DataFrame:
    """The manifest, and its slices prepared as `stores` says: folder -> rows and columns."""
    given.work.mkdir(parents=True, exist_ok=True)
    manifest = given.work / "soop.csv"
    if not manifest.is_file():
        columns = ["--options.path", "flair", "--options.id", "subject"]
        command("index", given.data / "cohort.csv", "--dataset", "cohort", "--out", manifest, *columns)
    for store, size in stores.items():
        command("prepare", manifest, "--store", given.work / store, "--depth", "none", "--size", size)
    return pd.read_csv(manifest)


def main() -> None:
    given = options_of(__doc__).parse_args()
    warnings.filterwarnings("ignore", message=".*num_workers.*")
    cohort = cohort_of(given, {"store": given.size, "store_pixels": "[192, 160]"})
    parts = parts_of(cohort)
    tables = []
    for seed in given.seeds:
        tables.append(cell(seed, given, cohort, parts))
    report(pd.concat(tables, ignore_index=True), given)


def report(table: pd.DataFrame, given: argparse.Namespace) -> None:
    """Print one row per method with its scores by seed, then the differences that matter."""
    features = ("CLS", "patches", "both", "chosen")
    methods = [
        "constant",
        "PCA floor",
        *(f"{who}: {f}" for who in ("random", "pretrained") for f in features),
    ]
    for task, title in (("age", "age, MAE in years"), ("mrs", "mRS >= 3, AUC")):
        scores = Resampling(table, task)
        print(f"\n{title}; held-out people by seed: {', '.join(map(str, scores.people))}")
        print(f"{'':22}" + "".join(f"seed {seed:<6}" for seed in scores.seeds) + "mean")
        for method in methods:
            values = scores.of(method)[:, 0]
            print(f"{method:22}" + "".join(f"{value:<11.3f}" for value in values) + f"{values.mean():.3f}")
        for other in ("random: chosen", "random: patches", "PCA floor"):
            print(f"pretrained: chosen - {other}: {scores.difference('pretrained: chosen', other)}")
    for path in sorted(given.work.glob("time_*.json")):
        spent = json.loads(path.read_text())
        part = ", the last part of an interrupted run" if spent.get("continued") else ""
        print(f"{path.stem}: {spent['minutes']:.1f} minutes, {spent['cpu_minutes']:.1f} of one core{part}")


if __name__ == "__main__":
    main()
