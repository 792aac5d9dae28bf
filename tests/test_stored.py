"""Files of an earlier version stay usable: digests, caches, finished probes and checkpoints."""

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from braindino.cli.main import main
from braindino.encoders.checkpoints import load_encoder
from braindino.encoders.vit import ViTEncoder
from braindino.files import read_json
from braindino.identity import id_of, stable_id

STORED = Path(__file__).parent / "stored" / "braindino_0_1.zip"
TEXT = {".csv", ".json", ".jsonl", ".yaml", ".txt", ".md", ".tsv"}
DIGEST = "346c2c5a1fd505e63bd4632bb1989cc3777f2cdb8bc289dd541d2492f2568c94"
PROBE = [
    *("--data", "Cohort", "--data.root", "scans/table.csv", "--data.store", "store", "--run.root", "runs"),
    *(
        "--probe.seeds",
        "[0]",
        "--probe.max_epochs",
        "2",
        "--probe.resamples",
        "20",
        "--probe.baselines",
        "false",
    ),
    *("--trainer.accelerator", "cpu", "--model.encoder", "encoder"),
]
STUDIES = {
    "cohort_cls": [
        *("--data.target", "group", "--data.path", "{T1w: t1}", "--model.pooling", "GatedAttentionPooling"),
    ],
    "cohort_seg": [
        *("--data.path", "{T1w: t1, mask: mask}", "--data.regions", "{lesion: [1]}"),
        *("--data.num_workers", "0", "--data.jobs", "1"),
        # The only decoder of that version.
        *("--model.head.init_args.decoder", "paper"),
    ],
    "brain_age_reg": [
        *("--data.task", "regression", "--data.target", "age", "--data.path", "{T1w: t1}"),
    ],
}
RUNS = {
    "cohort_cls": "runs/cohort_cls/encoder/88acaa68",
    "cohort_seg": "runs/cohort_seg/encoder/5da5c197",
    "brain_age_reg": "runs/brain_age_reg/encoder/474363d5",
}


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the stored files, which is the current folder."""
    with zipfile.ZipFile(STORED) as archive:
        archive.extractall(tmp_path)
    for file in tmp_path.rglob("*"):
        if file.suffix in TEXT:
            text = file.read_text("utf-8")
            if "@ROOT@" in text:
                file.write_text(text.replace("@ROOT@", str(tmp_path)), "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _times(folder: Path, *patterns: str) -> dict[Path, int]:
    return {
        file: file.stat().st_mtime_ns for each in patterns for file in folder.glob(each) if file.is_file()
    }


@pytest.mark.parametrize("name", STUDIES)
def test_probe_continues_stored_study(stored: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = stored / RUNS[name]
    patterns = (f"{RUNS[name]}/cells/**/*", "store/features/**/*", "store/masks/**/*", "store/scans/**/*")
    before, study = _times(stored, *patterns), read_json(run / "study.json")
    assert main(["probe", "--config", f"{name}.yaml", *PROBE, *STUDIES[name]]) == 0
    assert f"run folder: {RUNS[name]}\n" in capsys.readouterr().out
    assert _times(stored, *patterns) == before  # trained, encoded and resampled nothing
    assert read_json(run / "study.json") == study
    assert [folder.name for folder in run.parent.iterdir()] == [run.name]


def test_probe_explains_how_to_continue_a_stored_study_with_the_former_decoder(
    stored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = [*STUDIES["cohort_seg"][:-2], "--run.id", Path(RUNS["cohort_seg"]).name]
    assert main(["probe", "--config", "cohort_seg.yaml", *PROBE, *begun]) == 2
    error = capsys.readouterr().err
    assert "model.head.decoder: None there, conv now" in error
    assert "To continue it: --model.head.init_args.decoder paper\n" in error


@pytest.mark.parametrize("name", STUDIES)
def test_predict_with_stored_probe(stored: Path, name: str) -> None:
    scans = ["scans/p00_t1.nii.gz", "scans/p11_t1.nii.gz"]
    command = ["predict", "--probe", RUNS[name], *scans, "--accept", "modality", "--store", "store"]
    assert main([*command, "--out", "again"]) == 0
    expected = pd.read_csv(stored / "predicted" / name / "predictions.csv")
    predicted = pd.read_csv(stored / "again" / "predictions.csv")
    pd.testing.assert_frame_equal(predicted, expected, check_exact=False, rtol=1e-5)


def test_fit_continues_stored_run(stored: Path) -> None:
    command = ["fit", "--config", "pretrain_tiny.yaml", "--config", "tiny_fit.yaml", "--data.store", "store"]
    command += ["--run.root", "runs", "--run.id", "made", "--run.checkpoint_every", "2"]
    assert main([*command, "--model.model_args.depth", "1", "--trainer.max_steps", "3"]) == 0
    losses = pd.read_csv(stored / "runs/pretrain/made/metrics.csv")["train/loss"].dropna().to_numpy()
    expected = pd.read_csv(stored / "metrics_after_3_steps.csv")["train/loss"].dropna().to_numpy()
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_encoder_digest_is_the_stored_one(stored: Path) -> None:
    encoder = load_encoder("encoder")
    assert encoder.digest == DIGEST
    assert isinstance(encoder, ViTEncoder)

    class Moved(ViTEncoder):
        pass

    renamed = Moved(encoder.model, encoder.preprocessing, encoder.architecture, encoder.model_args)
    assert renamed.digest != DIGEST  # a subclass computes something else


IDS = {
    "encoders.vit": "ViTEncoder",
    "encoders.volumes.brainiac": "BrainIACEncoder",
    "encoders.volumes.bm_mae": "BMMAEEncoder",
    "encoders.volumes.brainmvp": "BrainMVPEncoder",
    "encoders.volumes.swin": "SwinEncoder",
    "probing": (
        "ClassificationHead RegressionHead SurvivalHead DaysHead SegmentationHead LogisticHead RidgeHead "
        "CoxNetHead KNNHead MeanPooling GatedAttentionPooling FrozenProbeModule"
    ),
    "probing.decoders.attention": "AttentionDecoder",
    "probing.decoders.conv": "ConvDecoder",
    "probing.decoders.detail": "DetailDecoder",
    "probing.decoders.linear": "LinearDecoder",
    "probing.decoders.paper": "PatchDecoder",
    "probing.decoders.unet": "UNetDecoder",
    "datasets.masks": "enhancing_four above_half",
}


@pytest.mark.parametrize(("module", "name"), [(m, n) for m, names in IDS.items() for n in names.split()])
def test_id_of_is_literal(module: str, name: str) -> None:
    from importlib import import_module

    thing = getattr(import_module(f"braindino.{module}"), name)
    assert vars(thing)["stable_id"] == name


def test_id_of_mask_rules() -> None:
    from braindino.datasets import ADNI, ATLAS, BraTS2021

    assert [id_of(data.mask_rule) for data in (ADNI, ATLAS, BraTS2021)] == [
        "mask_rule",
        "above_half",
        "enhancing_four",
    ]


def test_id_of_falls_back_to_the_name() -> None:
    @stable_id("first")
    class First:
        pass

    class Second(First):
        pass

    assert (id_of(First), id_of(Second)) == ("first", "Second")


def test_load_probe_reads_paths_of_moved_modules(stored: Path) -> None:
    """A class path is resolved by its last part, as `probe.json` of earlier versions names modules."""
    from braindino.probing.predict.probe import load_probe

    recipe = stored / RUNS["cohort_cls"] / "probe.json"
    text = recipe.read_text()
    assert "braindino.probing.heads.ClassificationHead" in text
    recipe.write_text(
        text.replace(
            "braindino.probing.heads.ClassificationHead", "braindino.probing.long_gone.ClassificationHead"
        )
    )
    (module,) = load_probe(stored / RUNS["cohort_cls"]).modules.values()
    assert type(module.head).__name__ == "ClassificationHead"
