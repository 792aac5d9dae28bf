"""Test the baselines of a segmentation: a U-Net and a decoder without tokens beside the probe."""

import json

import pandas as pd
import pytest
from lightning.pytorch import Trainer

from braindino.analysis.report.page import build_page
from braindino.analysis.runs import Run
from braindino.errors import BraindinoError
from braindino.files import read_json
from braindino.probing import FrozenProbeModule, Protocol, SegmentationHead, results_table, run_study
from braindino.probing.baselines.training import supervised_unet, with_head

FAST = {"seeds": [0], "max_epochs": 1, "resamples": 60}
REGIONS = {"lesion": [1], "dark": [2]}


def make_trainer(**overrides):
    return Trainer(accelerator="cpu", devices=1, **overrides)


def probe(decoder="detail", **options):
    return FrozenProbeModule("tiny", SegmentationHead(slices_per_case=2, decoder=decoder), **options)


def files(folder):
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.rglob("*.json")}


def test_run_study_adds_a_unet_to_a_finished_study(tmp_path, lesions, vit_encoder, monkeypatch):
    monkeypatch.setattr("braindino.probing.decoders.unet.WIDTHS", (4, 4, 8))
    protocol = {**FAST, "fractions": [0.5, 1.0]}
    run = tmp_path / "run"
    first = run_study(
        probe(), lesions(REGIONS), Protocol(**protocol, baselines=False), make_trainer, run, vit_encoder
    )
    assert first["baselines"] == {}
    cells = files(run / "cells")
    calls = []
    patch_maps = type(vit_encoder).patch_maps

    def counted(self, *given):
        calls.append(self.digest)
        return patch_maps(self, *given)

    monkeypatch.setattr(type(vit_encoder), "patch_maps", counted)
    monkeypatch.setattr(type(vit_encoder), "untrained", lambda self, seed=0: None)
    later = Protocol(**protocol, baselines="unet")
    results = run_study(probe(), lesions(REGIONS), later, make_trainer, run, vit_encoder)
    assert list(results["baselines"]) == ["no_tokens", "unet"]
    assert files(run / "cells") == cells
    # Only the colours of the patches for the report need the encoder.
    assert calls == []
    assert sorted(path.name for path in (run / "baselines/unet/cells").iterdir()) == [
        *("seed0_fraction0.5", "seed0_fraction1.0")
    ]
    assert not (run / "baselines/unet/cells/seed0_fraction1.0/probe.pt").exists()
    lines = results["baselines"]["unet"]["advantage"]
    metrics = [line["metric"] for line in lines if line["fraction"] == 0.5]
    assert metrics[:3] == ["dice", "dice_lesion", "dice_dark"]
    assert {"hd95", "hd95_dark", "nsd_lesion"} <= set(metrics)
    for line in lines:
        values = [
            next(s for s in part["summary"] if s["fraction"] == line["fraction"])["test"]["metrics"][
                line["metric"]
            ]["value"]
            for part in (results, results["baselines"]["unet"])
        ]
        if None not in values:
            assert line["value"] == pytest.approx(values[0] - values[1])
    table = pd.read_csv(run / "metrics.csv")
    rows = table[(table["model"] == "probe less unet") & (table["metric"] == "test/dice_dark")]
    assert list(rows["fraction"]) == [0.5, 1.0]
    text = results_table(results)
    assert "50%     probe less no_tokens" in text
    assert "The encoder adds over no_tokens: test/dice " in text
    assert "The probe less unet: test/dice " in text
    page = build_page({"tiny": {"seg": Run(run)}}, 20, "page")
    titles = [table.title for table in page.sections[0].tables]
    assert {"Against baselines", "Against baselines, further metrics"} <= set(titles)
    assert "Difference to baselines by number of labels" in [f.title for f in page.sections[0].figures]
    # Baselines of earlier calls stay in the results.
    fewer = Protocol(**protocol, baselines=True)
    again = run_study(probe(), lesions(REGIONS), fewer, make_trainer, run, vit_encoder)
    assert again["baselines"] == results["baselines"]
    assert json.loads(json.dumps(again)) == read_json(run / "results.json")


def test_supervised_unet_keeps_the_budget_and_not_the_learning_rate():
    module = probe("conv", lr=0.3, weight_decay=0.2, batch_size=5, unfreeze=True, augment=False)
    module.head = SegmentationHead(3, 0.5, "conv", [64, 64], neighbours=1, test_flips=True)
    unet = supervised_unet(module)
    assert (unet.head.decoder, unet.head.image_size, unet.pooling.name) == ("unet", None, "unet")
    assert (unet.head.slices_per_case, unet.head.foreground) == (3, 0.5)
    assert (unet.head.neighbours, unet.head.test_flips, unet.pooling.neighbours) == (1, True, 1)
    assert (unet.batch_size, unet.augment, unet.unfreeze) == (5, False, False)
    assert unet.optimizer_settings == type(unet.pooling).optimizer_defaults
    assert (module.head.decoder, module.lr, module.unfreeze) == ("conv", 0.3, True)


def test_with_head_sets_tokens_to_zero():
    changed = with_head(probe(lr=0.1), use_tokens=False)
    assert (changed.pooling.use_tokens, changed.lr) == (False, 0.1)


@pytest.mark.parametrize("name", ["untrained_encoder", "age_sex_site"])
def test_run_study_refuses_a_baseline_by_name(tmp_path, lesions, vit_encoder, name, monkeypatch):
    monkeypatch.setattr(type(vit_encoder), "untrained", lambda self, seed=0: None)
    protocol = Protocol(**FAST, baselines=name)
    with pytest.raises(BraindinoError, match=rf"probe\.baselines {name}: .*\nLeave it out\."):
        run_study(probe(), lesions(REGIONS), protocol, make_trainer, tmp_path / "run", vit_encoder)
    assert not (tmp_path / "run").exists()
