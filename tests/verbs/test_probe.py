"""The verb `probe` as a function, and the probe that `load_probe` and `predict` take."""

from pathlib import Path

import pandas as pd
import pytest

import braindino
from braindino.datasets import ADNI
from braindino.errors import BraindinoError
from braindino.probing import ClassificationHead, FrozenProbeModule, Protocol

FAST = Protocol(seeds=[0], max_epochs=2, resamples=0, baselines=False)


def data(cohort: Path) -> ADNI:
    return ADNI(cohort / "ADNI", store=cohort / "store")


def test_probe_returns_a_run_and_continues_it(
    cohort: Path,
    encoder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    run = braindino.probe(data(cohort), encoder, ClassificationHead(), protocol=FAST, progress=False)
    assert capfd.readouterr() == ("", "")
    assert run.path.parent == Path("runs/probe/encoder")
    assert run.results["task"] == "classification"
    assert set(run.predictions["split"]) == {"val", "test"}
    cell = run.path / "cells" / "seed0_fraction1.0" / "cell.json"
    before = cell.stat().st_mtime_ns
    again = braindino.probe(
        data=data(cohort),
        encoder=braindino.load_encoder(str(encoder)),
        head=ClassificationHead(),
        protocol=FAST,
        run_dir=run.path,
        progress=False,
    )
    assert again.path == run.path
    assert cell.stat().st_mtime_ns == before


def test_probe_takes_a_head_or_a_module(cohort: Path, encoder: Path, tmp_path: Path) -> None:
    module = FrozenProbeModule(str(encoder), ClassificationHead(), lr=0.01)
    with pytest.raises(BraindinoError, match="give either a head or a module"):
        braindino.probe(data(cohort), encoder)
    with pytest.raises(BraindinoError, match="give either a head or a module"):
        braindino.probe(data(cohort), encoder, ClassificationHead(), module=module)


def test_probe_writes_a_config_and_predict_takes_the_loaded_probe(
    cohort: Path, encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    network = braindino.load_encoder(str(encoder))
    run = braindino.probe(
        data(cohort),
        network,
        module=FrozenProbeModule("not a path", ClassificationHead(), lr=0.01),
        protocol=FAST,
        run_dir=tmp_path / "run",
        config="a: 1\n",
        progress=False,
    )
    assert run.config == {"a": 1}
    assert len(run.starts) == 1
    probe = braindino.load_probe(run.path, encoder=network)
    scan = cohort / pd.read_csv(cohort / "adni.csv")["path"][0]
    capfd.readouterr()
    predicted = braindino.predict(scan, probe, tmp_path / "out", device="cpu", progress=False)
    assert capfd.readouterr() == ("", "")
    assert (len(predicted.table), predicted.rejections) == (1, [])
    assert {"prediction", "prob_CN", "prob_MCI", "prob_AD", "warnings"} <= set(predicted.table.columns)
    written = pd.read_csv(tmp_path / "out" / "predictions.csv", keep_default_na=False)
    assert list(written.columns) == list(predicted.table.columns)
    other = braindino.load_encoder("scratch:vit_tiny_patch16_dinov3_qkvb", network.preprocessing)
    with pytest.raises(BraindinoError, match="ViTEncoder: not the encoder that"):
        braindino.load_probe(run.path, encoder=other)
