"""Test the grouping of files, folders and manifests into cases."""

from pathlib import Path

import pandas as pd
import pytest

from braindino.errors import BraindinoError
from braindino.probing.predict.inputs import choose_scans, find_cases


def made(folder: Path, *names: str) -> list[Path]:
    """Write files that look like scans without being read."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x1f\x8b" + bytes(2000))
    return paths


def cases(given: list[Path], modalities: tuple[str, ...], folder: Path) -> dict[str, dict[str, str]]:
    grouped, refused = find_cases(given, modalities, folder / "dicom")
    assert refused == []
    return {name: {m: scan.path.name for m, scan in scans.items()} for name, scans in grouped.items()}


def test_find_cases_of_one_modality_makes_a_case_of_every_file(tmp_path: Path) -> None:
    given = made(
        tmp_path, "sub-01_ses-2_run-1_T1w.nii.gz", "sub-01_ses-2_run-2_T1w.nii.gz", "IXI012-HH-1211-T1.nii.gz"
    )
    assert cases(given, ("T1w",), tmp_path) == {
        "sub-01_ses-2_run-1": {"T1w": given[0].name},
        "sub-01_ses-2_run-2": {"T1w": given[1].name},
        "IXI012-HH-1211-T1": {"T1w": given[2].name},
    }


def test_find_cases_of_several_modalities_groups_by_the_last_word(tmp_path: Path) -> None:
    names = ["sub-01_T1w.nii.gz", "sub-01_FLAIR.nii.gz", "UPENN-1_11_T1.nii.gz", "UPENN-1_11_T2.nii.gz"]
    assert cases(made(tmp_path, *names), ("T1w", "FLAIR", "T2w"), tmp_path) == {
        "sub-01": {"T1w": names[0], "FLAIR": names[1]},
        "UPENN-1_11": {"T1w": names[2], "T2w": names[3]},
    }


def test_find_cases_separates_equal_names_and_counts_a_file_once(tmp_path: Path) -> None:
    one, other = made(tmp_path, "a/brain.nii.gz", "b/brain.nii.gz")
    assert set(cases([one, other, one], ("T1w",), tmp_path)) == {"a_brain", "b_brain"}


def test_find_cases_groups_a_manifest_by_subject_and_session(tmp_path: Path) -> None:
    rows = [
        {
            "subject": subject,
            "session": session,
            "modality": modality,
            "path": f"{subject}{session}{modality}.nii",
        }
        for subject, session in (("01-a", "m 6"), ("01-a", ""))
        for modality in ("T1w", "FLAIR", "mask")
    ]
    table = pd.DataFrame(rows).assign(dataset="d", group="d:1", site="", sex="", age="")
    table.to_csv(tmp_path / "m.csv", index=False)
    grouped = cases([tmp_path / "m.csv"], ("T1w", "FLAIR"), tmp_path)
    assert {name: set(scans) for name, scans in grouped.items()} == {
        "sub-01a_ses-m6": {"T1w", "FLAIR"},
        "sub-01a": {"T1w", "FLAIR"},
    }


def test_find_cases_rejects_a_second_scan_of_a_modality(tmp_path: Path) -> None:
    given = made(tmp_path, "a/sub-01_T1w.nii.gz", "b/sub-01_T1w.nii.gz", "a/sub-01_T2w.nii.gz")
    grouped, refused = find_cases(given, ("T1w", "T2w"), tmp_path / "dicom")
    assert set(grouped["sub-01"]) == {"T1w", "T2w"}
    assert [(each.case, each.check) for each in refused] == [("sub-01", "modality")]


def test_choose_scans_reports_missing_modalities(tmp_path: Path) -> None:
    (t1,) = made(tmp_path, "sub-01_T1w.nii.gz")
    grouped, _ = find_cases([t1], ("T1w", "FLAIR"), tmp_path / "dicom")
    taken, (finding,) = choose_scans(grouped["sub-01"], ("T1w", "FLAIR"), may_miss=[])
    assert (list(taken), finding.message, finding.rejects) == (["T1w"], "no FLAIR (there: T1w)", True)
    _, (finding,) = choose_scans(grouped["sub-01"], ("T1w", "FLAIR"), may_miss=["FLAIR"])
    assert (finding.message, finding.rejects) == ("no FLAIR", False)


def test_choose_scans_accepts_unknown_and_rejects_other_modalities(tmp_path: Path) -> None:
    plain, t2 = made(tmp_path, "patient7.nii.gz", "patient8_T2w.nii.gz")
    grouped, _ = find_cases([plain, t2], ("T1w",), tmp_path / "dicom")
    assert choose_scans(grouped["patient7"], ("T1w",), []) == (
        {"T1w": grouped["patient7"]["unknown"]},
        [],
    )
    taken, (finding,) = choose_scans(grouped["patient8_T2w"], ("T1w",), [])
    assert list(taken) == ["T1w"]
    assert (finding.check, finding.rejects) == ("modality", True)


def test_find_cases_rejects_unreadable_files_and_raises_for_missing_ones(tmp_path: Path) -> None:
    (tmp_path / "empty.nii.gz").touch()
    grouped, (refused,) = find_cases([tmp_path / "empty.nii.gz"], ("T1w",), tmp_path / "dicom")
    assert (grouped, refused.check, refused.reason) == ({}, "readable", "empty file")
    with pytest.raises(BraindinoError, match="no such scan, folder or manifest"):
        find_cases([tmp_path / "nowhere.nii.gz"], ("T1w",), tmp_path / "dicom")
    (tmp_path / "empty").mkdir()
    _, (refused,) = find_cases([tmp_path / "empty"], ("T1w",), tmp_path / "dicom")
    assert refused.reason == "no T1w in it"


def test_find_cases_skips_localizers_and_phase_images_of_a_folder(tmp_path: Path) -> None:
    names = ["sub-1_T1w", "sub-1_part-phase_T1w", "localizer_1", "sub-1_ce-gadolinium_T1w", "subject1_FLAIR"]
    made(tmp_path / "in", *(f"{name}.nii.gz" for name in names))
    grouped, refused = find_cases([tmp_path / "in"], ("T1w",), tmp_path / "dicom")
    assert {name: list(scans) for name, scans in grouped.items()} == {"sub-1": ["T1w"]}
    assert refused == []


def test_find_cases_names_the_modality_of_a_single_file(tmp_path: Path) -> None:
    given = made(tmp_path, "sub-1_part-phase_T1w.nii.gz", "sub-2_ce-gadolinium_T1w.nii.gz", "scout_1.nii.gz")
    grouped, _ = find_cases(given, ("T1w",), tmp_path / "dicom")
    assert {modality for scans in grouped.values() for modality in scans} == {
        "T1c",
        "localizer or scout",
        "the phase of the signal",
    }
