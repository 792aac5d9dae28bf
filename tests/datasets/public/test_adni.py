from pathlib import Path

import pandas as pd
import pytest

from braindino.datasets.manifest import Manifest
from braindino.datasets.public.adni import ADNI, series_exclusion_reason
from braindino.errors import ManifestError, TableError
from braindino.synthetic.adni import write_adni
from braindino.synthetic.files import Planted

TINY = (8, 8, 8)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Planted, Manifest]:
    root = tmp_path_factory.mktemp("adni")
    planted = write_adni(root, people=18, sessions=3, shape=TINY)
    return root, planted, ADNI(root).index(root)


def test_adni_index_lists_labels_sessions_and_sources(planted: tuple[Path, Planted, Manifest]) -> None:
    _, truth, manifest = planted
    columns = ["subject", "session", "diagnosis", "label_source"]
    indexed = set(manifest.table[columns].itertuples(index=False, name=None))
    assert indexed == {tuple(scan[column] for column in columns) for scan in truth.scans}
    assert len(manifest.table) == len(truth.scans)
    assert set(manifest.table["label_source"]) == {"DX", "Group"}


def test_adni_index_lists_reasons_of_dropped_files(planted: tuple[Path, Planted, Manifest]) -> None:
    _, truth, manifest = planted
    assert manifest.dropped["reason"].value_counts().to_dict() == truth.dropped
    assert len(truth.dropped) == 5


def test_adni_index_groups_by_person_with_a_label_per_session(
    planted: tuple[Path, Planted, Manifest],
) -> None:
    _, _, manifest = planted
    table = manifest.table
    assert (table["group"] == "adni:" + table["subject"]).all()
    assert table["group"].nunique() == 17  # the eighteenth has no diagnosis at all
    labels = table.groupby("group")["diagnosis"].agg(list)
    assert ["MCI", "AD"] in labels.tolist()


def test_adni_index_takes_the_age_at_the_scan_and_the_corrected_scan(
    planted: tuple[Path, Planted, Manifest],
) -> None:
    _, _, manifest = planted
    two = manifest.table[manifest.table["group"].duplicated(keep=False)].sort_values(["group", "session"])
    gained = two.groupby("group")["age"].agg(lambda ages: ages.iloc[1] - ages.iloc[0])
    assert gained.between(0.85, 1.15).all()
    assert set(manifest.table["sex"]) == {"F", "M"}
    processed = manifest.dropped["reason"] == "another scan of the session is preferred"
    corrected = manifest.table["path"].str.contains("GradWarp").sum()
    assert corrected == processed.sum() - 1  # one is a repeat
    assert not manifest.table["path"].str.contains("REPEAT|Mask|localizer|FLAIR").any()


def test_adni_options_choose_the_sources_of_labels(planted: tuple[Path, Planted, Manifest]) -> None:
    root, _, manifest = planted
    strict = ADNI(root, use_group=False).index(root)
    assert set(strict.table["label_source"]) == {"DX"}
    assert len(strict.table) == (manifest.table["label_source"] == "DX").sum()
    wide = ADNI(root, max_days=500).index(root)
    assert (wide.table["label_source"] == "Group").sum() == 0


def test_adni_index_takes_enrolment_groups_of_a_collection(tmp_path: Path) -> None:
    write_adni(tmp_path, people=6, shape=TINY)
    (tmp_path / "ADNIMERGE.csv").unlink()
    table = ADNI(tmp_path).index(tmp_path).table
    assert set(table["label_source"]) == {"Group"}
    assert set(table["diagnosis"]) == {"CN", "MCI", "AD"}
    assert table["age"].notna().all()
    csv = next(tmp_path.glob("*.csv"))
    text = csv.read_text().replace('"Image Data ID"', '"Image ID"').replace('"Subject"', '"Subject ID"')
    csv.write_text(text.replace('"Group"', '"Research Group"').replace('"I3', '"3'))
    again = ADNI(tmp_path).index(tmp_path).table
    assert again.equals(table)


def test_adni_index_reads_codes_of_dxsum(tmp_path: Path) -> None:
    truth = write_adni(tmp_path, people=6, shape=TINY)
    text = (tmp_path / "ADNIMERGE.csv").read_text().replace('"DX"', '"DIAGNOSIS"')
    for word, code in (('"Dementia"', '"3"'), ('"MCI"', '"2"'), ('"CN"', '"1"')):
        text = text.replace(word, code)
    (tmp_path / "DXSUM_1.csv").write_text(text)
    (tmp_path / "ADNIMERGE.csv").unlink()
    table = ADNI(tmp_path).index(tmp_path).table
    assert set(table["label_source"]) == {"DXSUM", "Group"}
    wanted = {(scan["subject"], scan["session"], scan["diagnosis"]) for scan in truth.scans}
    assert set(table[["subject", "session", "diagnosis"]].itertuples(index=False, name=None)) == wanted
    (tmp_path / "DXSUM_1.csv").write_text(text.replace('"PTID"', '"SITE_PTID"'))  # people by RID alone
    assert ADNI(tmp_path).index(tmp_path).table.equals(table)


def test_adni_index_without_tables_raises_with_the_remedy(tmp_path: Path) -> None:
    write_adni(tmp_path, people=2, shape=TINY)
    for csv in tmp_path.glob("*.csv"):
        csv.unlink()
    with pytest.raises(TableError, match=r"Put ADNIMERGE\.csv"):
        ADNI(tmp_path).index(tmp_path)


def test_adni_index_of_a_deeper_root_with_foreign_files(tmp_path: Path) -> None:
    truth = write_adni(tmp_path / "zip", people=3, shape=TINY)
    (tmp_path / "ADNIMERGE.csv").write_bytes((tmp_path / "zip" / "ADNIMERGE.csv").read_bytes())
    (tmp_path / "other.nii").write_bytes(bytes(2000))
    manifest = ADNI(tmp_path).index(tmp_path)
    assert len(manifest.table) == len(truth.scans)
    assert manifest.dropped["reason"].str.startswith("not named as the archive does").sum() == 1


def test_adni_index_takes_the_end_of_a_conversion_in_older_tables(tmp_path: Path) -> None:
    write_adni(tmp_path, people=3, shape=TINY)
    before = ADNI(tmp_path).index(tmp_path).table
    merge = tmp_path / "ADNIMERGE.csv"
    text = merge.read_text().replace('"Dementia"', '"MCI to Dementia"').replace('"MCI"', '"NL to MCI"')
    merge.write_text(text.replace('"CN"', '"NL"'))
    assert ADNI(tmp_path).index(tmp_path).table.equals(before)


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ("MPR__GradWarp__B1_Correction__N3__Scaled", ""),
        ("MPR-R__GradWarp__B1_Correction__N3__Scaled", ""),
        ("MP-RAGE", ""),
        ("Accelerated_Sagittal_MPRAGE", ""),
        ("Sag_IR-SPGR", ""),
        ("IR-FSPGR_repeat", ""),
        ("MPRAGE_Repeat2", ""),
        ("MT1__GradWarp__N3m", ""),
        ("3_Plane_Localizer", "localizer or scout"),
        ("B1-calibration_Body", "localizer or scout"),
        ("Brain_Mask", "mask or segmentation"),
        ("Axial_T2_FLAIR", "not a T1-weighted structural scan"),
        ("Axial_PD_T2_FSE", "not a T1-weighted structural scan"),
        ("Resting_State_fMRI", "not a T1-weighted structural scan"),
        ("HighResHippocampus", "not a T1-weighted structural scan"),
    ],
)
def test_series_exclusion_reason(description: str, reason: str) -> None:
    assert series_exclusion_reason(description) == reason


def test_adni_index_rejects_an_age_that_is_no_number(tmp_path: Path) -> None:
    write_adni(tmp_path, people=4, shape=TINY)
    table = tmp_path / "ADNIMERGE.csv"
    cells = pd.read_csv(table, dtype=str, keep_default_na=False)
    cells.assign(AGE="ninety").to_csv(table, index=False)
    with pytest.raises(ManifestError, match=r"age of '\d{3}_S_\d{4}' is 'ninety'"):
        ADNI(tmp_path).index(tmp_path)
    cells.assign(AGE="90+").to_csv(table, index=False)
    bounds = ADNI(tmp_path).index(tmp_path).table
    known = bounds["label_source"] != "Group"
    assert bounds.loc[known, "age"].isna().all()
    assert set(bounds.loc[known, "blank_because"]) == {"age '90+' is a bound, not an age"}
