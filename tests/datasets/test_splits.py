from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braindino.datasets.splits import bins, kfold_people, nested_fraction, read_split, split_people
from braindino.errors import SplitError


@pytest.fixture
def cases() -> pd.DataFrame:
    """80 people with 1-3 sessions; some change class between sessions; three sites."""
    rng = np.random.default_rng(3)
    rows = []
    for person in range(80):
        label = ["CN", "CN", "MCI", "AD"][person % 4]
        for session in range(rng.integers(1, 4)):
            now = "MCI" if label == "AD" and session == 0 and person % 8 == 3 else label
            rows.append((f"c{person}-{session}", f"adni:{person:03d}", now, f"site{person % 3}"))
    return pd.DataFrame(rows, columns=["case", "group", "target", "site"])


def people(cases: pd.DataFrame, split: pd.Series, part: str) -> set[str]:
    return set(cases.loc[split == part, "group"])


def test_split_people_is_disjoint_by_person_with_the_given_fractions(cases: pd.DataFrame) -> None:
    split = split_people(cases, (0.6, 0.2, 0.2), "target")
    train, val, test = (people(cases, split, part) for part in ("train", "val", "test"))
    assert not train & val
    assert not train & test
    assert not val & test
    assert (len(train), len(val), len(test)) == pytest.approx((48, 16, 16), abs=2)


def test_split_people_divides_every_stratum_by_the_fractions(cases: pd.DataFrame) -> None:
    split = split_people(cases, (0.5, 0.25, 0.25), ["target", "site"])
    shares = (
        cases.assign(split=split)
        .drop_duplicates("group")
        .groupby("site")["split"]
        .value_counts(normalize=True)
    )
    for site in ("site0", "site1", "site2"):
        assert shares[site, "train"] == pytest.approx(0.5, abs=0.12)


def test_split_people_does_not_depend_on_the_order_of_rows(cases: pd.DataFrame) -> None:
    split = split_people(cases, stratify="target", seed=5)
    shuffled = cases.sample(frac=1, random_state=1)
    assert split_people(shuffled, stratify="target", seed=5).sort_index().equals(split)
    assert not split_people(cases, stratify="target", seed=6).equals(split)


def test_split_people_needs_three_people_of_a_class(cases: pd.DataFrame) -> None:
    rare = pd.DataFrame(
        {"case": list("xyz"), "group": ["adni:x", "adni:y", "adni:z"], "target": "FTD", "site": "site0"}
    )
    both = pd.concat([cases, rare], ignore_index=True)
    for seed in range(20):
        split = split_people(both, stratify="target", seed=seed)
        assert set(split[both["target"] == "FTD"]) == {"train", "val", "test"}
    with pytest.raises(SplitError, match="'FTD' has 2 people"):
        split_people(pd.concat([cases, rare[:2]], ignore_index=True), stratify="target")


def test_split_people_leaves_a_part_of_fraction_zero_empty(cases: pd.DataFrame) -> None:
    assert set(split_people(cases, (0.9, 0.1, 0), "target")) == {"train", "val"}


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.4, 0.2), (1.2, -0.2, 0), (0, 0.5, 0.5)])
def test_split_people_refuses_bad_fractions(cases: pd.DataFrame, fractions: tuple[float, ...]) -> None:
    with pytest.raises(SplitError, match="sum to 1"):
        split_people(cases, fractions)


def test_kfold_people_is_disjoint_stratified_and_deterministic(cases: pd.DataFrame) -> None:
    fold = kfold_people(cases, 5, ["target", "site"], seed=2)
    assert set(fold) == {0, 1, 2, 3, 4}
    assert cases.assign(fold=fold).groupby("group")["fold"].nunique().max() == 1
    assert cases.assign(fold=fold).groupby("fold")["target"].nunique().min() == 3
    shuffled = cases.sample(frac=1, random_state=4)
    assert (
        kfold_people(shuffled.sort_values("case"), 5, ["target", "site"], 2)
        .sort_index()
        .equals(kfold_people(cases.sort_values("case"), 5, ["target", "site"], 2).sort_index())
    )
    assert not kfold_people(cases, 5, ["target", "site"], 3).equals(fold)


def test_kfold_people_refuses_more_folds_than_people(cases: pd.DataFrame) -> None:
    with pytest.raises(SplitError, match="'AD' has 18 people"):
        kfold_people(cases, 21, "target")
    with pytest.raises(SplitError, match="1 folds"):
        kfold_people(cases, 1)
    assert set(kfold_people(cases, 30)) == set(range(30))


def test_kfold_people_accepts_incomplete_bins(cases: pd.DataFrame) -> None:
    few = cases[:9].assign(bin=[0, 0, 0, 0, 1, 1, 1, 1, 2])
    assert set(split_people(few, stratify="bin", complete=False)) == {"train", "val", "test"}
    folds = kfold_people(few, 3, "bin", complete=False)
    assert few.assign(fold=folds).groupby("group")["fold"].nunique().max() == 1
    assert set(folds) == {0, 1, 2}


def test_nested_fraction_nests_by_person_and_has_every_class(cases: pd.DataFrame) -> None:
    previous: set[str] = set()
    for fraction in (0.02, 0.1, 0.25, 0.5, 1.0):
        subset = nested_fraction(cases, fraction, 7, "target")
        chosen = set(subset["group"])
        assert previous <= chosen
        assert set(subset["target"]) == {"CN", "MCI", "AD"}
        assert len(subset) == cases["group"].isin(chosen).sum()
        assert len(chosen) == pytest.approx(max(3, fraction * 80), abs=2)
        previous = chosen
    assert previous == set(cases["group"])
    one = set(nested_fraction(cases, 0.25, 0, "target")["group"])
    assert one != set(nested_fraction(cases, 0.25, 1, "target")["group"])
    with pytest.raises(SplitError, match="above 0"):
        nested_fraction(cases, 0, 0)


def test_nested_fraction_does_not_depend_on_the_order_of_rows(cases: pd.DataFrame) -> None:
    shuffled = cases.sample(frac=1, random_state=2)
    assert set(nested_fraction(shuffled, 0.25, 0, "target")["case"]) == set(
        nested_fraction(cases, 0.25, 0, "target")["case"]
    )


def test_read_split_by_person(tmp_path: Path, cases: pd.DataFrame) -> None:
    names = sorted(set(cases["group"]))
    parts = ["train", "Val", "test", "none"]
    rows = [f"{name},{parts[i % 4]}" for i, name in enumerate(names)]
    (tmp_path / "s.csv").write_text("\ufeffGroup,Split\r\n" + "\r\n".join([*rows, "stranger,train"]))
    split = read_split(tmp_path / "s.csv", cases)
    assert set(split[cases["group"] == names[1]]) == {"val"}
    assert set(split[cases["group"] == names[3]]) == {"none"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("person,split\nx,train\n", "one of `case` and `group`"),
        ("group,part\nx,train\n", "no column 'split'"),
        ("group,split\nadni:000,training\n", "line 2, column 'split': 'training'"),
        ("group,split\nadni:000,train\n", "no row for 79 groups"),
        ("group,split\nadni:000,train\nadni:000,test\n", "two splits"),
    ],
)
def test_read_split_refuses_a_bad_file(tmp_path: Path, cases: pd.DataFrame, text: str, message: str) -> None:
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(Exception, match=message) as caught:
        read_split(tmp_path / "s.csv", cases)
    assert "s.csv" in str(caught.value)


def test_read_split_refuses_a_person_in_two_parts(tmp_path: Path, cases: pd.DataFrame) -> None:
    split = ["train" if case.endswith("-0") else "test" for case in cases["case"]]
    cases.assign(split=split)[["case", "split"]].to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(SplitError, match="is in two parts"):
        read_split(tmp_path / "s.csv", cases)


def test_bins_are_quantiles() -> None:
    assert bins(pd.Series(np.arange(100.0)), 5).value_counts().tolist() == [20] * 5
    assert set(bins(pd.Series([1.0, 1.0, 2.0]), 5)) <= {0, 1}


def test_kfold_people_of_people_who_have_every_class_each() -> None:
    table = pd.DataFrame({"group": np.repeat([f"p{i:02d}" for i in range(12)], 3), "label": list("abc") * 12})
    fold = kfold_people(table, 3, "label")
    assert fold.groupby(table["group"]).nunique().eq(1).all()
    assert table.groupby(fold)["label"].nunique().tolist() == [3, 3, 3]
    with pytest.raises(SplitError, match="'c' has 2 people"):
        kfold_people(table[(table["label"] != "c") | (table["group"] < "p02")], 3, "label")
