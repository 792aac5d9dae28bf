"""What a user names as cases: files by their names, several modalities together, manifests by their rows."""

from pathlib import Path

import pandas as pd
import pytest

from braindino.errors import BraindinoError
from braindino.probing.predict.inputs import choose_scans, find_cases


def made(folder: Path, *names: str) -> list[Path]:
    """Files that may be scans, as far as a look from outside tells."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\x1f\x8b" + bytes(2000))
    return paths


def cases(given: list[Path], modalities: tuple[str, ...], folder: Path) -> dict[str, dict[str, str]]:
    found, refused = find_cases(given, modalities, folder / "dicom")
    assert refused == []
    return {name: {m: scan.path.name for m, scan in scans.items()} for name, scans in found.items()}


def test_of_one_modality_every_file_is_a_case(tmp_path: Path) -> None:
    given = made(
        tmp_path, "sub-01_ses-2_run-1_T1w.nii.gz", "sub-01_ses-2_run-2_T1w.nii.gz", "IXI012-HH-1211-T1.nii.gz"
    )
    assert cases(given, ("T1w",), tmp_path) == {
        "sub-01_ses-2_run-1": {"T1w": given[0].name},
        "sub-01_ses-2_run-2": {"T1w": given[1].name},
        "IXI012-HH-1211-T1": {"T1w": given[2].name},
    }


def test_of_several_modalities_names_that_differ_in_the_last_word_are_one_case(tmp_path: Path) -> None:
    names = ["sub-01_T1w.nii.gz", "sub-01_FLAIR.nii.gz", "UPENN-1_11_T1.nii.gz", "UPENN-1_11_T2.nii.gz"]
    assert cases(made(tmp_path, *names), ("T1w", "FLAIR", "T2w"), tmp_path) == {
        "sub-01": {"T1w": names[0], "FLAIR": names[1]},
        "UPENN-1_11": {"T1w": names[2], "T2w": names[3]},
    }


def test_equal_names_in_several_folders_are_told_apart_and_one_file_counts_once(tmp_path: Path) -> None:
    one, other = made(tmp_path, "a/brain.nii.gz", "b/brain.nii.gz")
    assert set(cases([one, other, one], ("T1w",), tmp_path)) == {"a_brain", "b_brain"}


def test_rows_of_a_manifest_are_cases_by_subject_and_session(tmp_path: Path) -> None:
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
    found = cases([tmp_path / "m.csv"], ("T1w", "FLAIR"), tmp_path)
    assert {name: set(scans) for name, scans in found.items()} == {
        "sub-01a_ses-m6": {"T1w", "FLAIR"},
        "sub-01a": {"T1w", "FLAIR"},
    }


def test_a_second_scan_of_a_modality_is_refused(tmp_path: Path) -> None:
    given = made(tmp_path, "a/sub-01_T1w.nii.gz", "b/sub-01_T1w.nii.gz", "a/sub-01_T2w.nii.gz")
    found, refused = find_cases(given, ("T1w", "T2w"), tmp_path / "dicom")
    assert set(found["sub-01"]) == {"T1w", "T2w"}
    assert [(each.case, each.check) for each in refused] == [("sub-01", "modality")]


def test_what_is_there_is_taken_and_what_lacks_is_told(tmp_path: Path) -> None:
    (t1,) = made(tmp_path, "sub-01_T1w.nii.gz")
    found, _ = find_cases([t1], ("T1w", "FLAIR"), tmp_path / "dicom")
    taken, (finding,) = choose_scans(found["sub-01"], ("T1w", "FLAIR"), may_miss=[])
    assert (list(taken), finding.message, finding.rejects) == (["T1w"], "no FLAIR (there: T1w)", True)
    _, (finding,) = choose_scans(found["sub-01"], ("T1w", "FLAIR"), may_miss=["FLAIR"])
    assert (finding.message, finding.rejects) == ("no FLAIR", False)


def test_a_name_that_tells_nothing_is_believed_and_another_modality_is_not(tmp_path: Path) -> None:
    plain, t2 = made(tmp_path, "patient7.nii.gz", "patient8_T2w.nii.gz")
    found, _ = find_cases([plain, t2], ("T1w",), tmp_path / "dicom")
    assert choose_scans(found["patient7"], ("T1w",), []) == (
        {"T1w": found["patient7"]["unknown"]},
        [],
    )
    taken, (finding,) = choose_scans(found["patient8_T2w"], ("T1w",), [])
    assert list(taken) == ["T1w"]
    assert (finding.check, finding.rejects) == ("modality", True)


def test_what_cannot_be_a_scan_is_refused_and_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.nii.gz").touch()
    found, (refused,) = find_cases([tmp_path / "empty.nii.gz"], ("T1w",), tmp_path / "dicom")
    assert (found, refused.check, refused.reason) == ({}, "readable", "empty file")
    with pytest.raises(BraindinoError, match="no such scan, folder or manifest"):
        find_cases([tmp_path / "nowhere.nii.gz"], ("T1w",), tmp_path / "dicom")
    (tmp_path / "empty").mkdir()
    _, (refused,) = find_cases([tmp_path / "empty"], ("T1w",), tmp_path / "dicom")
    assert refused.reason == "no T1w in it"


def test_find_cases_passes_over_localizers_and_phase_images_of_a_folder(tmp_path: Path) -> None:
    names = ["sub-1_T1w", "sub-1_part-phase_T1w", "localizer_1", "sub-1_ce-gadolinium_T1w", "subject1_FLAIR"]
    made(tmp_path / "in", *(f"{name}.nii.gz" for name in names))
    found, refused = find_cases([tmp_path / "in"], ("T1w",), tmp_path / "dicom")
    assert {name: list(scans) for name, scans in found.items()} == {"sub-1": ["T1w"]}
    assert refused == []


def test_find_cases_names_what_a_single_file_is(tmp_path: Path) -> None:
    given = made(tmp_path, "sub-1_part-phase_T1w.nii.gz", "sub-2_ce-gadolinium_T1w.nii.gz", "scout_1.nii.gz")
    found, _ = find_cases(given, ("T1w",), tmp_path / "dicom")
    assert {modality for scans in found.values() for modality in scans} == {
        "T1c",
        "localizer or scout",
        "the phase of the signal",
    }
