"""Test `braindino predict`: predictions equal those of the study, and unlike scans are rejected."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from braindino.analysis.predictions import read_predictions
from braindino.cli.main import main
from braindino.encoders.cache import FeatureCache
from braindino.files import read_json


def run_probe(
    cohort: Path, encoder: Path, runs: Path, name: str, *more: str, config: str = "adni_cls.yaml"
) -> Path:
    arguments = [
        *(
            "probe",
            "--config",
            config,
            "--data.root",
            str(cohort / "ADNI"),
            "--data.store",
            str(cohort / "store"),
        ),
        *("--model.encoder", str(encoder), "--run.root", str(runs), "--run.name", name, "--run.id", "a"),
        *("--probe.seeds", "[0,1]", "--probe.max_epochs", "2", "--probe.resamples", "0"),
        *("--probe.baselines", "false", *more),
    ]
    assert main(arguments) == 0
    return runs / name / encoder.name / "a"


@pytest.fixture(scope="module")
def run(cohort: Path, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished probe of diagnoses."""
    return run_probe(cohort, encoder, tmp_path_factory.mktemp("runs"), "adni_cls")


@pytest.fixture(scope="module")
def scans(cohort: Path) -> list[Path]:
    table = pd.read_csv(cohort / "adni.csv")
    return [cohort / path for path in table["path"]]


def predict(run: Path, out: Path, *scans: Path | str, more: tuple[str, ...] = ()) -> int:
    arguments = ["--probe", str(run), "--out", str(out), "--device", "cpu", *more]
    return main(["predict", *map(str, scans), *arguments])


def test_predict_repeats_the_predictions_of_test_scans(
    cohort: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written = read_predictions(run / "predictions.csv").query("split == 'test'")
    columns = ["prob_CN", "prob_MCI", "prob_AD"]
    expected = written.groupby("case")[columns].mean()
    manifest = pd.read_csv(cohort / "adni.csv", dtype=str)
    manifest["case"] = manifest["dataset"] + ":" + manifest["subject"] + ":" + manifest["session"]
    chosen = manifest[manifest["case"].isin(expected.index)]
    chosen = chosen.assign(path=[str(cohort / path) for path in chosen["path"]])
    chosen.drop(columns="case").to_csv(tmp_path / "new.csv", index=False)
    assert predict(run, tmp_path / "out", tmp_path / "new.csv") == 0
    assert f"{len(chosen)} cases, mean of 2 probes (2 seeds)" in capsys.readouterr().out
    got = pd.read_csv(tmp_path / "out" / "predictions.csv")
    np.testing.assert_allclose(got[columns], expected.loc[chosen["case"]], atol=1e-5)
    assert (got["prediction"] == got[columns].idxmax(axis=1).astype(str).str.removeprefix("prob_")).all()
    assert got["case"].str.match(r"sub-[A-Za-z0-9]+_ses-[A-Za-z0-9]+").all()
    assert read_json(tmp_path / "out" / "dataset_description.json")["DatasetType"] == "derivative"
    assert len(pd.read_csv(tmp_path / "out" / "rejects.csv")) == 0
    # The prediction of one seed is that of its cell; nothing is read again.
    first = written.query("seed == 1").set_index("case")
    assert predict(run, tmp_path / "out", tmp_path / "new.csv", more=("--seed", "1")) == 0
    got = pd.read_csv(tmp_path / "out" / "predictions.csv")
    np.testing.assert_allclose(got[columns], first.loc[chosen["case"], columns], atol=1e-5)


def test_predict_continues_after_a_bad_scan(
    run: Path, scans: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, cut, brain, unplaced = (tmp_path / f"sub-{i}_T1w.nii.gz" for i in range(4))
    shutil.copy(scans[0], good)
    cut.write_bytes(scans[1].read_bytes()[:900])
    image = nib.load(scans[2])
    data = np.asarray(image.dataobj).astype(np.float32)
    ball = sum((axis - n / 2) ** 2 / n**2 for axis, n in zip(np.indices(data.shape), data.shape, strict=True))
    nib.save(nib.Nifti1Image(data * (ball < 0.09), image.affine), brain)  # the synthetic scans are heads
    loose = nib.Nifti1Image(data, None)
    loose.header["sform_code"] = loose.header["qform_code"] = 0
    nib.save(loose, unplaced)
    other = tmp_path / "sub-9_T2w.nii.gz"
    shutil.copy(scans[3], other)
    thick = tmp_path / "sub-8_T1w.nii.gz"
    nib.save(nib.Nifti1Image(data[:, :, ::4], image.affine @ np.diag([1, 1, 4, 1])), thick)
    assert predict(run, tmp_path / "out", good, cut, brain, unplaced, other, thick) == 1
    got = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False).set_index("case")
    assert sorted(got.index) == ["sub-0", "sub-8"]
    assert got.loc["sub-0", "warnings"] == ""
    assert "spacing: columns 16 mm, not 4 to 4 (training: 18 scans)" in got["warnings"]["sub-8"]
    rejects = pd.read_csv(tmp_path / "out" / "rejects.csv").set_index("case")
    assert rejects["check"].to_dict() == {
        "sub-1": "readable", "sub-2": "stripped", "sub-3": "orientation", "sub-9": "modality"
    }  # fmt: skip
    assert "truncated" in rejects["reason"]["sub-1"]
    assert "4 refusals, in" in capsys.readouterr().out
    accepted = ("--accept", "stripped", "--accept", "modality")
    assert predict(run, tmp_path / "out", brain, other, more=accepted) == 0
    got = pd.read_csv(tmp_path / "out" / "predictions.csv").set_index("case")
    assert "skull-stripped, as hardly any training scan was" in got["warnings"]["sub-2"]
    assert "T2w by its name" in got["warnings"]["sub-9"]


def test_predict_rejects_a_case_with_features_not_finite(
    run: Path, scans: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, seen = FeatureCache.write, []

    def first_is_broken(self: FeatureCache, key: str, values: np.ndarray) -> None:
        seen.append(key)
        write(self, key, np.full_like(values, np.nan) if key == seen[0] else values)

    monkeypatch.setattr(FeatureCache, "write", first_is_broken)
    assert predict(run, tmp_path, *scans[:3]) == 1
    (refused,) = pd.read_csv(tmp_path / "rejects.csv").to_dict("records")
    assert (refused["check"], refused["reason"]) == ("finite", "the features of the encoder are not finite")
    got = pd.read_csv(tmp_path / "predictions.csv")
    assert len(got) == 2
    assert refused["case"] not in set(got["case"])
    assert Path(refused["path"]) in scans[:3]


def test_predict_takes_the_scans_of_a_folder(run: Path, scans: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "new"
    for site in ("a", "b"):
        (folder / site).mkdir(parents=True)
        shutil.copy(scans[0], folder / site / "brain.nii.gz")
    shutil.copy(scans[1], folder / "a" / "brain_mask.nii.gz")
    shutil.copy(scans[1], folder / "a" / "brain_T2w.nii.gz")
    assert predict(run, tmp_path / "out", folder) == 0
    got = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert got["case"].tolist() == ["a_brain", "b_brain"]
    (tmp_path / "t2").mkdir()
    shutil.copy(scans[1], tmp_path / "t2" / "brain_T2w.nii.gz")
    assert predict(run, tmp_path / "out", tmp_path / "t2", folder) == 1
    (lost,) = pd.read_csv(tmp_path / "out" / "rejects.csv").to_dict("records")
    assert (lost["case"], lost["check"], lost["reason"]) == ("t2", "modality", "no T1w in it; there are T2w")
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 2


def test_predict_of_a_number_has_its_deviation_over_seeds(
    cohort: Path, encoder: Path, scans: list[Path], tmp_path: Path
) -> None:
    run = run_probe(
        *(
            cohort,
            encoder,
            tmp_path,
            "age",
            "--data.root",
            str(cohort / "adni.csv"),
            "--data.init_args.target",
            "age",
        ),
        *(
            "--data.init_args.task",
            "regression",
            "--model.head.class_path",
            "braindino.probing.RegressionHead",
        ),
        config="cohort_cls.yaml",
    )
    assert predict(run, tmp_path / "out", scans[0], more=("--accept", "modality")) == 0
    (row,) = pd.read_csv(tmp_path / "out" / "predictions.csv").to_dict("records")
    assert 20 < row["prediction"] < 120
    assert row["sd"] > 0


def test_predict_of_a_risk_writes_its_curve(
    cohort: Path, encoder: Path, scans: list[Path], tmp_path: Path
) -> None:
    table = pd.read_csv(cohort / "adni.csv")
    table["days"], table["died"] = (
        range(10, 10 + len(table)),
        [1, 1, 0] * (len(table) // 3) + [1] * (len(table) % 3),
    )
    table["path"] = [str(cohort / path) for path in table["path"]]
    table.to_csv(tmp_path / "survival.csv", index=False)
    run = run_probe(
        *(cohort, encoder, tmp_path, "risk", "--data.root", str(tmp_path / "survival.csv")),
        *("--data.init_args.task", "survival", "--data.init_args.target", "[days,died]"),
        *("--model.head.class_path", "braindino.probing.SurvivalHead"),
        config="cohort_cls.yaml",
    )
    assert predict(run, tmp_path / "out", *scans[:2], more=("--accept", "modality")) == 0
    rows = pd.read_csv(tmp_path / "out" / "predictions.csv")
    curves = pd.read_csv(tmp_path / "out" / "survival.csv")
    assert set(rows["risk_group"]) <= {"high", "low"}
    for case, curve in curves.groupby("case"):
        assert curve["survival"].is_monotonic_decreasing
        assert curve["survival"].between(0, 1).all()
        at_median = curve[curve["survival"] <= 0.5]["time"].head(1).tolist()
        assert rows.set_index("case")["median_time"][str(case)] == pytest.approx(at_median[0])


def test_predict_writes_masks_in_native_space(encoder: Path, tmp_path: Path) -> None:
    folder, rng = tmp_path / "scans", np.random.default_rng(0)
    folder.mkdir()
    rows = []
    affine = np.array([[0, -2.0, 0, 10], [3, 0, 0, -20], [0, 0, 4, 5], [0, 0, 0, 1]])  # P, R -> L, S: no RAS
    for i in range(12):
        data = rng.normal(100, 10, (16, 20, 9)).astype(np.float32)
        mask = np.zeros(data.shape, np.uint8)
        mask[5:12, 4 + i % 5 : 14, 3:7] = 1
        data[mask > 0] += 60
        nib.save(nib.Nifti1Image(data, affine), folder / f"sub-{i:02d}_T1w.nii.gz")
        nib.save(nib.Nifti1Image(mask, affine), folder / f"p{i:02d}_mask.nii.gz")
        rows.append({"id": f"{i:02d}", "t1": f"sub-{i:02d}_T1w.nii.gz", "mask": f"p{i:02d}_mask.nii.gz"})
    pd.DataFrame(rows).to_csv(folder / "cases.csv", index=False)
    run = run_probe(
        *(tmp_path, encoder, tmp_path, "lesions", "--data.root", str(folder / "cases.csv")),
        *("--data.init_args.regions", "{lesion: [1]}", "--data.init_args.path", "{T1w: t1, mask: mask}"),
        *("--data.init_args.num_workers", "0", "--data.init_args.jobs", "1", "--probe.precision", "float32"),
        *("--probe.seeds", "[0]", "--model.lr", "0.003", "--data.prepare", "true"),
        config="cohort_seg.yaml",
    )
    written = read_predictions(run / "predictions.csv").query("split == 'test'").set_index("case")
    judged = [folder / f"sub-{case.rpartition(':')[2]}_T1w.nii.gz" for case in written.index]
    assert predict(run, tmp_path / "out", *judged) == 0
    got = pd.read_csv(tmp_path / "out" / "predictions.csv")
    np.testing.assert_allclose(got["lesion_ml"], written["predicted_ml"], rtol=1e-6)
    assert got["lesion_ml"].max() > 0
    for case, file in zip(got["case"], got["mask"], strict=True):
        assert file == f"{case}/anat/{case}_desc-lesions_dseg.nii.gz"
        image = nib.load(tmp_path / "out" / file)
        assert image.shape == (16, 20, 9)
        np.testing.assert_allclose(image.affine, affine, atol=1e-5)
        volume = np.asarray(image.dataobj).sum() * 24 / 1000
        assert volume == pytest.approx(got.set_index("case").loc[case, "lesion_ml"])
        names = (tmp_path / "out" / file).with_name(f"{case}_desc-lesions_dseg.tsv").read_text()
        assert names == "index\tname\n1\tlesion\n"


@pytest.mark.parametrize(
    ("scan", "more", "message"),
    [
        ("nowhere.nii.gz", (), "no such scan, folder or manifest"),
        ("scan", ("--probe", "nowhere"), "no finished probe there"),
        ("scan", ("--seed", "7"), "no finished cell of fraction 1 and seed 7"),
        ("scan", ("--accept", "skull"), "--accept skull: expected one of modality, orientation, stripped"),
        ("scan", ("--encoder", "nowhere"), "encoder 'nowhere'"),
        ("scan", ("--strip-cmd", "hd-bet"), "expected {in} and {out}"),
        ("table.csv", (), "no manifest. Make one with `braindino index`"),
    ],
)
def test_predict_reports_wrong_input_in_three_lines(
    run: Path, scans: list[Path], tmp_path: Path, scan: str, more: tuple[str, ...], message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    given = scans[0] if scan == "scan" else tmp_path / scan
    assert predict(run, tmp_path / "out", given, more=more) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) <= 3
