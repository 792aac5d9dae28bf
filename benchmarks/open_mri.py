"""Score encoders on the open MRI corpus by linear probes, beside random twins and PCA.

Seven tasks of three sets: age, mRS >= 3, sex and prior stroke of SOOP, tumour class, age and sex of ds002748.
Features are the CLS token and the mean patch token; a volume is represented by three of its slices, whose
features are averaged. The work folder has the manifests and the store of recipes/open_mri/README.md.

    python benchmarks/open_mri.py open_mri --encoders open_mri/braindino-s --people held-out

With `--people held-out`, probes are fitted on everyone else and scored once on the people of held_out.txt.
With `--people development`, the held-out people are excluded and the others are scored by three five-fold
cross-validations: the recipe was searched by these scores.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import load_encoder
from braindino.scans.preprocessing import decode
from braindino.scans.store.store import Store

RECIPE = Path(__file__).parent.parent / "recipes" / "open_mri"
HEIGHTS = (0.4, 0.55, 0.7)  # slices of a volume, as fractions of its foreground from the bottom
COMPONENTS = 50
ALPHAS, CS = np.logspace(0, 5, 16), np.logspace(-5, 0, 8)
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Task:
    """A label of a data set.

    Attributes:
        name: title with the metric and its unit.
        dataset: name of the data set.
        column: column of the label.
        kind: "mae" (years), "auc" (of the rows that are `positive`) or "accuracy" (balanced).
        positive: which values are the positive class.
    """

    name: str
    dataset: str
    column: str
    kind: str
    positive: Callable[[pd.Series], pd.Series] = lambda values: values == 1


TASKS = (
    Task("SOOP age, MAE in years", "soop", "age", "mae"),
    Task("SOOP mRS >= 3, AUROC", "soop", "mrs", "auc", lambda values: values >= 3),
    Task("SOOP sex, AUROC", "soop", "sex", "auc", lambda values: values == "F"),
    Task("SOOP prior stroke, AUROC", "soop", "prior_stroke", "auc"),
    Task("tumour class, balanced accuracy", "cheng", "tumour", "accuracy"),
    Task("ds002748 age, MAE in years", "ds002748", "age", "mae"),
    Task("ds002748 sex, AUROC", "ds002748", "sex", "auc", lambda values: values == "F"),
)


def labelled(work: Path, store: Store) -> pd.DataFrame:
    """Return the store's index with the manifests' labels, for scans of the labelled sets."""
    manifests = [pd.read_csv(work / f"{name}.csv") for name in ("soop", "cheng", "ds002748")]
    labels = pd.concat(manifests, ignore_index=True)
    identity = ["dataset", "subject", "session", "modality"]
    columns = ["age", "sex", "mrs", "prior_stroke", "tumour"]
    index = store.index().drop_duplicates("key")
    for table in (labels, index):
        table[identity] = table[identity].astype(object).fillna("").astype(str)
        # Pandas reads the subject 01 as the number 1 if all are numbers.
        table["subject"] = table["subject"].str.lstrip("0")
    return index.merge(labels[identity + columns], on=identity).reset_index(drop=True)


def slices_of(store: Store, scans: pd.DataFrame) -> tuple[torch.Tensor, npt.NDArray[np.int_]]:
    """Return the slices (N, 1, H, W), and for each its row of `scans` (N,)."""
    slices, rows = [], []
    for row, scan in enumerate(scans.itertuples()):
        length = scan.last - scan.first
        for place in (0.5,) if length == 0 else HEIGHTS:
            raw = torch.from_numpy(store.slice(scan.key, int(scan.first + place * length)).copy())
            slices.append(decode(raw, float(scan.scale), float(scan.zero_point)))
            rows.append(row)
    return torch.stack(slices).unsqueeze(1), np.array(rows)


def per_scan(values: Array, rows: npt.NDArray[np.int_]) -> Array:
    """Return the mean over the slices of each scan: (N, D) -> (scans, D)."""
    return pd.DataFrame(values).groupby(rows).mean().to_numpy()


@torch.no_grad()
def features_of(encoder: Encoder, slices: torch.Tensor) -> Array:
    """Return the CLS token and the mean patch token of slices (N, 1, H, W): (N, 2 D) float64."""
    return np.concatenate([encoder.with_mean_patch(batch).double().numpy() for batch in slices.split(32)])


def target_of(task: Task, values: pd.Series) -> Array:
    """Return years, 0 or 1, or the number of the class: (n,)."""
    if task.kind == "mae":
        return values.to_numpy(np.float64)
    if task.kind == "auc":
        return task.positive(values).to_numpy(np.float64)
    return pd.factorize(values, sort=True)[0].astype(np.float64)


def score(task: Task, truth: Array, predicted: Array) -> float:
    """Return the mean absolute error, the area under the ROC curve, or the balanced accuracy."""
    if task.kind == "mae":
        return float(np.abs(truth - predicted).mean())
    if task.kind == "auc":
        return float(roc_auc_score(truth, predicted))
    return float(balanced_accuracy_score(truth, predicted))


def folds(task: Task, y: Array, people: pd.Series, seed: int) -> list[tuple[Array, Array]]:
    """Return five folds over people, balanced over classes."""
    if task.kind == "mae":
        return list(GroupKFold(5, shuffle=True, random_state=seed).split(y, y, people))
    return list(StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(y, y, people))


def probe(task: Task, y: Array, people: pd.Series) -> Pipeline:
    """Return a linear probe; cross-validation over people chooses its penalty."""
    if task.kind == "mae":
        return make_pipeline(StandardScaler(), RidgeCV(ALPHAS))
    balanced = "balanced" if task.kind == "accuracy" else None
    scoring = "balanced_accuracy" if task.kind == "accuracy" else "roc_auc"
    inner = folds(task, y, people, seed=0)
    model = LogisticRegressionCV(Cs=CS, cv=inner, scoring=scoring, max_iter=300, class_weight=balanced)
    return make_pipeline(StandardScaler(), model)


def predicted(task: Task, model: Pipeline, x: Array) -> Array:
    """Return years or classes, for AUROC the decision function."""
    values: Array = model.decision_function(x) if task.kind == "auc" else model.predict(x)
    return values


def held_out_predictions(
    task: Task, x: Array, y: Array, people: pd.Series, test: npt.NDArray[np.bool_]
) -> Array:
    """Return the predictions of the test rows by a probe trained on the other rows."""
    model = probe(task, y[~test], people[~test]).fit(x[~test], y[~test])
    return predicted(task, model, x[test])


def development_score(task: Task, x: Array, y: Array, people: pd.Series) -> float:
    """Return the mean of three cross-validations; for classes with the best of three penalties."""
    scores = []
    for seed in range(3):
        cv = folds(task, y, people, seed)
        if task.kind == "mae":
            models = [make_pipeline(StandardScaler(), RidgeCV(ALPHAS))]
        else:
            balanced = "balanced" if task.kind == "accuracy" else None
            penalties = (1e-4, 1e-3, 1e-2)
            models = [
                make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=300, class_weight=balanced))
                for c in penalties
            ]
        method = "decision_function" if task.kind == "auc" else "predict"
        values = [score(task, y, cross_val_predict(model, x, y, cv=cv, method=method)) for model in models]
        scores.append(values[0] if task.kind == "mae" else max(values))
    return float(np.mean(scores))


def resampled(people: npt.NDArray[np.object_], draws: int = 1000) -> Iterator[npt.NDArray[np.int_]]:
    """Yield the rows of people drawn with replacement."""
    rows = {person: np.flatnonzero(people == person) for person in np.unique(people)}
    generator = np.random.default_rng(0)
    names = list(rows)
    for _ in range(draws):
        yield np.concatenate([rows[names[i]] for i in generator.integers(0, len(names), len(names))])


def difference(
    task: Task, truth: Array, ours: Array, theirs: list[Array], people: npt.NDArray[np.object_]
) -> str:
    """Return our score minus the mean of theirs, with a 95 % interval over people."""

    def value(rows: npt.NDArray[np.int_]) -> float:
        baseline = np.mean([score(task, truth[rows], prediction[rows]) for prediction in theirs])
        return score(task, truth[rows], ours[rows]) - float(baseline)

    every = value(np.arange(len(truth)))
    draws = [value(rows) for rows in resampled(people) if len(np.unique(truth[rows])) > 1]
    low, high = np.percentile(draws, [2.5, 97.5])
    return f"{every:+.3f} [{low:+.3f}, {high:+.3f}]"


def all_features(given: argparse.Namespace, store: Store, scans: pd.DataFrame) -> dict[str, Array]:
    """Return the features of every encoder and its random twins by name, cached by digest."""
    slices, rows = slices_of(store, scans)
    pixels = torch.nn.functional.avg_pool2d(slices, 4).flatten(1).double().numpy()
    features = {"pixels": per_scan(pixels, rows)}
    cache = given.work / "features"
    cache.mkdir(exist_ok=True)
    for name in given.encoders:
        trained = load_encoder(name)
        twins = {
            f"random twin {seed} of {Path(name).name}": trained.untrained(seed) for seed in range(given.twins)
        }
        for key, encoder in {Path(name).name: trained, **twins}.items():
            assert encoder is not None, f"{name}: an encoder without an untrained twin"
            file = cache / f"{encoder.digest[:16]}_{len(scans)}.npy"
            if not file.is_file():
                np.save(file, per_scan(features_of(encoder, slices), rows))
            features[key] = np.load(file)
    return features


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path, help="folder of soop.csv, cheng.csv, ds002748.csv and store/")
    parser.add_argument("--encoders", nargs="+", required=True, help="encoders with the store's contract")
    parser.add_argument("--people", choices=["development", "held-out"], default="held-out")
    parser.add_argument("--twins", type=int, default=3, help="random initialisations per encoder")
    given = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning, module="sklearn")
    store = Store.open(given.work / "store")
    scans = labelled(given.work, store)
    lines = (RECIPE / "held_out.txt").read_text().splitlines()
    held_out = scans["group"].isin({line for line in lines if line and not line.startswith("#")}).to_numpy()
    features = all_features(given, store, scans)
    for task in TASKS:
        known = ((scans["dataset"] == task.dataset) & scans[task.column].notna()).to_numpy()
        rows = known & ~held_out if given.people == "development" else known
        y, people, test = target_of(task, scans[task.column][rows]), scans["group"][rows], held_out[rows]
        inputs = {name: x[rows] for name, x in features.items()}
        pixels = inputs.pop("pixels")[~test]
        fitted = PCA(min(COMPONENTS, len(pixels) - 1), random_state=0).fit(pixels)
        inputs = {"PCA": fitted.transform(features["pixels"][rows]), **inputs}
        print(f"\n{task.name}; {people[test].nunique() or people.nunique()} people")
        if given.people == "development":
            for name, x in inputs.items():
                print(f"  {name:36}{development_score(task, x, y, people):8.3f}")
            continue
        made = {name: held_out_predictions(task, x, y, people, test) for name, x in inputs.items()}
        for name, values in made.items():
            print(f"  {name:36}{score(task, y[test], values):8.3f}")
        for name in map(str, (Path(encoder).name for encoder in given.encoders)):
            twins = [made[key] for key in made if key.startswith("random") and key.endswith(f" of {name}")]
            tested = people[test].to_numpy()
            for other, theirs in (("random twins", twins), ("PCA", [made["PCA"]])):
                if theirs:
                    print(f"  {name} - {other}: {difference(task, y[test], made[name], theirs, tested)}")


if __name__ == "__main__":
    main()
