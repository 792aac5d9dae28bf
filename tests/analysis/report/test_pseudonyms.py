"""Test pseudonyms and shortened paths of a page that is shared."""

import pytest

from braindino.analysis.report.pseudonyms import Pseudonymiser


def test_pseudonymiser_person_is_stable_on_a_page_and_different_on_another() -> None:
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
def test_pseudonymiser_text_shortens_absolute_paths(text: str, shown: str) -> None:
    assert Pseudonymiser().text(text) == shown
    assert Pseudonymiser(identify=True).text(text) == text


def test_pseudonymiser_text_replaces_known_ids_inside_of_sentences() -> None:
    pseudonymiser = Pseudonymiser(["sub-01", "1"])
    assert pseudonymiser.text("same as sub-01, not sub-011; 1 of 1") == (
        f"same as {pseudonymiser.person('sub-01')}, not sub-011; 1 of 1"
    )
    assert pseudonymiser.path("/a/runs/t/e/1", parts=3) == ".../t/e/1"
    assert pseudonymiser.path("runs/t/e/1", parts=3) == "runs/t/e/1"
