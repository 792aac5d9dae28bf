"""Measure the effect of pretraining on 716 real slices, beside random weights and PCA.

For each seed a part of the labelled people is held out: their slices are in neither the pretraining nor the
training of a probe. A small ViT is pretrained from scratch on the slices of the others by `braindino fit`,
with a shipped recipe and a second config for the sizes, exported, and probed: ridge regression (age) and
logistic regression (mRS >= 3) on the CLS token, the mean patch token, or both. Cross-validation over the
training people chooses one of the three and the regularisation, for the pretrained encoder and for random
weights of the same shape. The lower bound is PCA (its size chosen in the same way) on pixels reduced four
times. The people of the development part were used in the search for the recipe and are never in a test
part.

    python benchmarks/soop_learning.py ../shared/data/soop --work soop_work

The same command continues an interrupted run: finished seeds are not trained again.
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
# Parts by seed: every person outside of the development part is in one test part.
HELD_OUT = {0: (3, 4), 1: (5, 6), 2: (7, 8)}
ALPHAS, CS = np.logspace(-1, 5, 13), np.logspace(-4.5, 0, 10)
# Random initialisations per seed; the mean of their scores is reported.
TWINS = 3
Table = dict[str, np.ndarray]


def command(*arguments: object) -> None:
    """Run one `braindino` verb."""
    print("$ braindino", *arguments, flush=True)
    if code := braindino([str(argument) for argument in arguments]):
        raise SystemExit(f"braindino {arguments[0]} ended with {code}")


def parts_of(cohort: pd.DataFrame) -> pd.Series:
    """Return the part 0-8 of every labelled person, balanced in mRS; -1 without labels."""
    labelled = cohort[cohort["age"].notna()].sort_values("subject")
    strata = np.where(labelled["mrs"].isna(), 2, labelled["mrs"] >= 3)
    parts = pd.Series(-1, index=cohort["subject"])
    folds = StratifiedKFold(PARTS, shuffle=True, random_state=0)
    for part, (_, rows) in enumerate(folds.split(strata, strata)):
        parts[labelled["subject"].iloc[rows]] = part
    return parts


def slices_of(store: Path, cohort: pd.DataFrame) -> torch.Tensor:
    """Return the slice of every person as encoders see it: (people, 1, H, W)."""
    opened = Store.open(store)
    index = opened.index().drop_duplicates("subject").set_index("subject").loc[cohort["subject"]]
    raw = np.stack([opened.slice(key, 0) for key in index["key"]])
    scale, zero_point = (torch.tensor(index[name].to_numpy(np.float32)) for name in ("scale", "zero_point"))
    return decode(torch.from_numpy(raw), scale, zero_point).unsqueeze(1)


@torch.no_grad()
def features_of(encoder: Encoder, slices: torch.Tensor, depth: int) -> Table:
    """Return CLS token, mean patch token, and both: each (people, features) float64."""
    rows = []
    for batch in slices.split(64):
        patches = encoder.patch_maps(batch, [depth - 1])[0].mean(dim=(2, 3))
        rows.append(torch.cat([encoder(batch), patches], dim=1).double().numpy())
    both = np.concatenate(rows)
    return {"CLS": both[:, : encoder.embed_dim], "patches": both[:, encoder.embed_dim :], "both": both}


def searched(task: str, first: Any, sizes: dict[str, Any], x: np.ndarray, y: np.ndarray) -> GridSearchCV:
    """Return a probe fitted on all rows; 5-fold cross-validation chooses its regularisation."""
    if task == "age":
        model, grid = Ridge(), {"model__alpha": ALPHAS}
        folds, score = KFold(5, shuffle=True, random_state=0), "neg_mean_absolute_error"
    else:
        model, grid = LogisticRegression(max_iter=1000), {"model__C": CS}
        folds, score = StratifiedKFold(5, shuffle=True, random_state=0), "roc_auc"
    steps = Pipeline([("first", first), ("scale", StandardScaler()), ("model", model)])
    return GridSearchCV(steps, {**grid, **sizes}, scoring=score, cv=folds).fit(x, y)


def predicted(task: str, model: GridSearchCV, x: np.ndarray) -> np.ndarray:
    """Return years, or the logit of mRS >= 3."""
    values: np.ndarray = model.predict(x) if task == "age" else model.decision_function(x)
    return values


def predictions(task: str, choices: Table, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> Table:
    """Return test predictions by every feature, and by the one with the best score ("chosen")."""
    fitted = {name: searched(task, "passthrough", {}, x[train], y[train]) for name, x in choices.items()}
    made = {name: predicted(task, model, choices[name][test]) for name, model in fitted.items()}
    return {**made, "chosen": made[max(fitted, key=lambda name: fitted[name].best_score_)]}


def floor(task: str, pixels: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return test predictions by PCA of pixels; cross-validation chooses its size."""
    sizes = {"first__n_components": [40, 50, 60]}
    fitted = searched(task, PCA(random_state=0), sizes, pixels[train], y[train])
    return predicted(task, fitted, pixels[test])


def pretrained(seed: int, given: argparse.Namespace, cohort: pd.DataFrame, parts: pd.Series) -> Path:
    """Pretrain without held-out people and export, unless done; return the encoder's folder."""
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
    """Return the test predictions of all methods, one row per task, method and person."""
    cached = given.work / f"predictions_{seed}.csv"
    if cached.is_file():
        return pd.read_csv(cached)
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
    with atomic_write(cached) as file:
        table.to_csv(file, index=False)
    return table


def names_of(method: str) -> list[str]:
    """Return the columns of a line of the report: several for the random twins."""
    return [method.replace("random", f"random {i}") for i in range(TWINS)] if "random" in method else [method]


class Resampling:
    """Scores of a task under resampling of people, with the number of draws as weights."""

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
        """Return the scores (seeds, 1 + draws); for the random twins the mean of their scores."""
        return np.mean([self.scores[name] for name in names_of(method)], axis=0)

    def difference(self, ours: str, theirs: str) -> str:
        """Return ours minus theirs, mean over seeds, with a 95 % interval over held-out people."""
        values = self.of(ours).mean(axis=0) - self.of(theirs).mean(axis=0)
        low, high = np.percentile(values[1:], [2.5, 97.5])
        return f"{values[0]:+.3f} [{low:+.3f}, {high:+.3f}]"


def error(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted mean absolute error (draws,), with weights (draws, people)."""
    return weights @ np.abs(prediction - y) / weights.sum(axis=1)


def area(y: np.ndarray, prediction: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weighted AUROC (draws,): the share of pairs in the right order, ties one half."""
    high, low = prediction[y == 1][:, None], prediction[y == 0][None, :]
    right = (high > low) + 0.5 * (high == low)
    positive, negative = weights[:, y == 1], weights[:, y == 0]
    return ((positive @ right) * negative).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))


def options_of(description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the common options of the benchmarks on these slices."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="the folder with cohort.csv and nifti/")
    parser.add_argument(
        "--work", type=Path, default=Path("soop_work"), help="work folder, which a later call continues"
    )
    parser.add_argument("--config", nargs="+", default=["pretrain_small.yaml", HERE / "soop_cpu.yaml"])
    parser.add_argument("--size", default="[48, 40]", help="rows and columns of the slices")
    parser.add_argument("--seeds", nargs="+", type=int, default=sorted(HELD_OUT), choices=sorted(HELD_OUT))
    return parser


def cohort_of(given: argparse.Namespace, stores: dict[str, str]) -> pd.DataFrame:
    """Write the manifest and `stores` (folder -> rows and columns); return the manifest."""
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
    """Print one row per method with its scores by seed, then differences with intervals."""
    features = ("CLS", "patches", "both", "chosen")
    methods = [
        "constant",
        "PCA floor",
        *(f"{weights}: {f}" for weights in ("random", "pretrained") for f in features),
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
