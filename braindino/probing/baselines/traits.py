"""Baseline of a probe: a linear model of age, sex and site."""

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, Ridge

from braindino.errors import BraindinoError
from braindino.probing.cell import Cell
from braindino.probing.cell_training import prediction_rows, reported_parts
from braindino.probing.data.cases import ProbeCases
from braindino.probing.heads.classification import classification_rows
from braindino.probing.heads.cox_net import fit_cox_net
from braindino.probing.heads.regression import regression_rows
from braindino.probing.heads.survival import survival_rows

TRAITS = ("age", "sex", "site")


def known_traits(cases: ProbeCases) -> list[str]:
    """Return those of age, sex and site that vary among training cases and are not the target."""
    train = cases.part("train")
    return [
        name
        for name in TRAITS
        if name not in cases.target_names and name in train and len(train[name].drop_duplicates()) > 1
    ]


def traits_cell(cell: Cell, cases: ProbeCases, task: str) -> None:
    """Fit a linear model of `known_traits` in one cell: logistic, ridge or Cox regression.

    Age is standardised on the labelled cases, with an indicator of a missing age; sex and site are one-hot
    over the values of the labelled cases. The penalty is the default of scikit-learn; that of Cox regression
    is selected on validation.

    Args:
        cell: the cell, which is written.
        cases: all cases of the study.
        task: task of the head.

    Raises:
        BraindinoError: the labelled cases are of one class, or have no event.
    """
    cases = cell.within(cases)
    train = cases.labelled(cell.fraction, cell.seed)
    reported = pd.concat(reported_parts(cases, train, task))
    names = known_traits(cases)
    x, x_reported = _design(train, train, names), _design(train, reported, names)
    if task == "survival":
        part = (reported["split"] == "val").to_numpy()
        fitted = fit_cox_net(x, train, x_reported[part], reported[part])
        rows = survival_rows(x_reported @ fitted.coefficients, reported)
    elif cases.classes:
        if train["target"].nunique() < 2:
            raise BraindinoError("the labelled cases are of one class.")
        present = LogisticRegression(max_iter=1000).fit(x, train["target"])
        probabilities = np.zeros((len(reported), len(cases.classes)))
        probabilities[:, present.classes_] = present.predict_proba(x_reported)
        rows = classification_rows(probabilities, reported, cases.classes)
    else:
        rows = regression_rows(Ridge().fit(x, train["target"]).predict(x_reported), reported)
    facts = {"train_cases": len(train), "train_people": int(train["group"].nunique())}
    cell.write(prediction_rows(reported, rows, cell), facts)


def _design(train: pd.DataFrame, cases: pd.DataFrame, names: list[str]) -> np.ndarray:
    """Return the columns of the linear model for some cases, (N, F)."""
    columns: list[pd.Series] = []
    for name in names:
        if name == "age":
            age, train_age = cases["age"].astype(float), train["age"].astype(float)
            spread = train_age.std() if train_age.std() > 0 else 1.0
            columns += [((age - train_age.mean()) / spread).fillna(0.0), age.isna().astype(float)]
        else:
            columns += [(cases[name] == value).astype(float) for value in sorted(set(train[name]))]
    return np.column_stack(columns)
