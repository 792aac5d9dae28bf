"""What a probe must beat: a model of age, sex and site, and the same encoder without its training."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge

from braindino.errors import BraindinoError
from braindino.probing.cell import Cell, prediction_rows, shown_parts
from braindino.probing.data.cases import ProbeCases
from braindino.probing.heads.base import classification_rows, regression_rows
from braindino.probing.heads.cox_net import fit_cox_net
from braindino.probing.heads.survival import survival_rows

KNOWN = ("age", "sex", "site")


def known_traits(cases: ProbeCases) -> list[str]:
    """Those of age, sex and site that differ between training cases and are not the target itself."""
    train = cases.part("train")
    return [
        name
        for name in KNOWN
        if name not in cases.target_names and name in train and len(train[name].drop_duplicates()) > 1
    ]


def traits_cell(cell: Cell, cases: ProbeCases, task: str) -> None:
    """A linear model of `known_traits` in one cell: logistic, ridge, or (of survival) Cox regression.

    Age is standardised on the labelled cases, with an indicator of its absence; sex and site are one-hot
    over the values that the labelled cases have. The penalty is scikit-learn's default, that of Cox
    regression is chosen on validation.
    """
    cases = cell.within(cases)
    train = cases.labelled(cell.fraction, cell.seed)
    shown = pd.concat(shown_parts(cases, train, task))
    names = known_traits(cases)
    x, x_shown = _design(train, train, names), _design(train, shown, names)
    if task == "survival":
        part = (shown["split"] == "val").to_numpy()
        fitted = fit_cox_net(x, train, x_shown[part], shown[part])
        rows = survival_rows(x_shown @ fitted.coefficients, shown)
    elif cases.classes:
        if train["target"].nunique() < 2:
            raise BraindinoError("the labelled cases are of one class.")
        present = LogisticRegression(max_iter=1000).fit(x, train["target"])
        probabilities = np.zeros((len(shown), len(cases.classes)))
        probabilities[:, present.classes_] = present.predict_proba(x_shown)
        rows = classification_rows(probabilities, shown, cases.classes)
    else:
        rows = regression_rows(Ridge().fit(x, train["target"]).predict(x_shown), shown)
    facts = {"train_cases": len(train), "train_people": int(train["group"].nunique())}
    cell.write(prediction_rows(shown, rows, cell), facts)


def _design(train: pd.DataFrame, cases: pd.DataFrame, names: list[str]) -> np.ndarray:
    columns = []
    for name in names:
        if name == "age":
            age, seen = cases["age"].astype(float), train["age"].astype(float)
            spread = seen.std() if seen.std() > 0 else 1.0
            columns += [((age - seen.mean()) / spread).fillna(0.0), age.isna().astype(float)]
        else:
            columns += [(cases[name] == value).astype(float) for value in sorted(set(train[name]))]
    return np.column_stack(columns)
