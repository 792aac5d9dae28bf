"""Pseudonyms and shortened paths of a page that is given away."""

import pytest

from braindino.analysis.report.pseudonyms import Pseudonymiser


def test_a_pseudonym_is_stable_on_a_page_and_new_on_the_next() -> None:
    first, second = Pseudonymiser(), Pseudonymiser()
    assert first.person("sub-01") == first.person("sub-01") != first.person("sub-02")
    assert first.person("sub-01") != second.person("sub-01")
    assert first.person("") == ""


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("probe --data.root /data/people/ADNI --x 1", "probe --data.root .../ADNI --x 1"),
        ("root: /data/ADNI\nstore: ../store", "root: .../ADNI\nstore: ../store"),
        ("'~/scans/a' and ~ann/b", "'.../a' and .../b"),
        (r"C:\scans\ann\x.nii", ".../x.nii"),
        ("a/b 1/2 https://host/x", "a/b 1/2 https://host/x"),
        ("--data.exclude=[/a/b.csv,/c/d.csv]", "--data.exclude=[.../b.csv,.../d.csv]"),
    ],
)
def test_absolute_paths_are_cut(text: str, shown: str) -> None:
    assert Pseudonymiser().text(text) == shown
    assert Pseudonymiser(identify=True).text(text) == text


def test_known_ids_are_replaced_inside_of_sentences() -> None:
    disguise = Pseudonymiser(["sub-01", "1"])
    assert disguise.text("same as sub-01, not sub-011; 1 of 1") == (
        f"same as {disguise.person('sub-01')}, not sub-011; 1 of 1"
    )
    assert disguise.path("/a/runs/t/e/1", keep=3) == ".../t/e/1"
    assert disguise.path("runs/t/e/1", keep=3) == "runs/t/e/1"
