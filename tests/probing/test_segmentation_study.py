"""Test a study of a segmentation: what it learns, its repeatability, its continuation and its files."""

import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
from lightning.pytorch import Trainer

from braindino.analysis.metrics.mask_metrics import segmentation_row
from braindino.analysis.metrics.segmentation import ROW
from braindino.analysis.predictions import read_predictions
from braindino.datasets.grid_masks import GridMask
from braindino.errors import BraindinoError
from braindino.files import read_json
from braindino.probing import (
    Augmentation,
    ClassificationHead,
    FrozenProbeModule,
    MeanPooling,
    Protocol,
    SegmentationHead,
    results_table,
    run_study,
)
from braindino.probing.evaluation import case_masks
from braindino.probing.predict.predictor import predict_cases
from braindino.probing.predict.probe import load_probe
from tests.helpers.interrupting import interrupted

FAST = {"max_epochs": 8, "patience": 8, "resamples": 50, "baselines": False}


def make_trainer(**overrides):
    return Trainer(accelerator="cpu", devices=1, **overrides)


def probe(head=None, **options):
    # A quarter of the tokens of the default size, for speed.
    head = SegmentationHead(**{"image_size": 64, **(head or {"slices_per_case": 8})})
    return FrozenProbeModule("tiny", head, **{"lr": 3e-3, **options})


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def run(folder, data, encoder, module=None, **protocol):
    return run_study(
        module or probe(), data, Protocol(**{"seeds": [0], **FAST, **protocol}), make_trainer, folder, encoder
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("segmentation")


@pytest.fixture
def done(folder, lesions, vit_encoder):
    """A folder with a finished study in `run`; the first test that needs it trains it."""
    run(folder / "run", lesions({"lesion": [1, 2]}), vit_encoder)
    return folder


def test_run_study_segments_and_measures_in_native_space(done, lesions, vit_encoder):
    encoder = vit_encoder
    results = run(done / "run", lesions({"lesion": [1, 2]}), encoder)
    metrics = results["summary"][0]["test"]["metrics"]
    assert metrics["dice"]["value"] > 0.6
    assert metrics["dice"]["low"] < metrics["dice"]["value"] < metrics["dice"]["high"]
    assert results["classes"] == ["lesion"]
    table = read_predictions(done / "run" / "predictions.csv")
    assert set(table["split"]) == {"val", "test"}
    assert {"region", *ROW, "sex", "age"} <= set(table)
    assert set(table["nsd_tolerance"]) == {results["nsd_tolerance"]} == {2.0}
    assert table.loc[table["true_ml"] > 0, ["nsd", "pq"]].notna().all(axis=None)
    assert metrics["nsd"]["low"] < metrics["nsd"]["value"] < metrics["nsd"]["high"]
    assert metrics["pq"]["value"] <= metrics["rq"]["value"]
    # Volumes of the truth are those of the files, voxel by voxel.
    data = lesions()
    data.setup()
    rows = data.cases.set_index("case")
    for _, row in table.iterrows():
        mask = np.asarray(nibabel.load(rows.loc[row["case"], "mask"]).dataobj)
        assert row["true_ml"] == pytest.approx((mask > 0).sum() * 4.5 / 1000)
    assert results["baselines"] == {}
    assert "test/hd95" in results_table(results)
    assert "test/nsd (2 mm)" in results_table(results)


def test_run_study_does_not_learn_shuffled_masks(tmp_path, done, lesion_scans, lesions, vit_encoder):
    encoder = vit_encoder
    table = pd.read_csv(lesion_scans / "cases.csv")
    table["mask"] = np.roll(table["mask"], 7)
    for column in ("t1", "flair", "mask"):
        table[column] = [str(lesion_scans / name) for name in table[column]]
    table.to_csv(tmp_path / "cases.csv", index=False)
    results = run(tmp_path / "run", lesions(root=tmp_path), encoder)
    honest = read_json(done / "run" / "results.json")["summary"][0]["test"]["metrics"]["dice"]["value"]
    assert results["summary"][0]["test"]["metrics"]["dice"]["value"] < honest - 0.25


def test_run_study_measures_shifted_training_masks_by_those_of_the_files(
    tmp_path, done, lesions, vit_encoder, monkeypatch
):
    right = GridMask.slice
    # As if the loader placed masks four pixels beside their slices, in training and in validation.
    monkeypatch.setattr(GridMask, "slice", lambda self, number: np.roll(right(self, number), 4, axis=0))
    results = run(tmp_path / "run", lesions({"lesion": [1, 2]}), vit_encoder)
    honest = read_json(done / "run" / "results.json")["summary"][0]["test"]["metrics"]["dice"]["value"]
    assert results["summary"][0]["test"]["metrics"]["dice"]["value"] < honest - 0.1


def test_case_masks_of_neighbours_equal_those_of_the_study_slice_by_slice(tmp_path, lesions, vit_encoder):
    """A stack predicted at once, with slices encoded once, equals predictions of slices in batches."""
    head = SegmentationHead(slices_per_case=8, neighbours=1, test_flips=True, image_size=64)
    module = FrozenProbeModule("tiny", head, lr=3e-3)
    run(tmp_path / "run", lesions({"lesion": [1, 2]}), vit_encoder, module, max_epochs=2)
    saved = torch.load(tmp_path / "run/cells/seed0_fraction1.0/probe.pt", weights_only=True)
    module = FrozenProbeModule("tiny", SegmentationHead(neighbours=1, test_flips=True, image_size=64))
    module.restore(saved, ("lesion",), vit_encoder)
    data = lesions()
    data.setup()
    table = read_predictions(tmp_path / "run" / "predictions.csv").set_index("case")
    for case in table.index[:2]:
        row = data.cases.set_index("case").loc[case]
        record = data.store.index().set_index("key").loc[row["key_FLAIR"]]
        for batch_size in (1, 64):
            module.batch_size = batch_size
            masks = case_masks(
                module,
                torch.from_numpy(np.array(data.store.slices(row["key_FLAIR"])))[None],
                torch.tensor([record["scale"]]),
                torch.tensor([record["zero_point"]]),
                torch.tensor([True]),
                data.store.geometry(row["key_FLAIR"]),
            )
            voxel = np.abs(np.linalg.det(nibabel.load(row["mask"]).affine[:3, :3])) / 1000
            assert masks["lesion"].sum() * voxel == pytest.approx(table.loc[case, "predicted_ml"])


def test_run_study_of_masks_is_repeatable_and_continued(tmp_path, done, lesions, vit_encoder):
    encoder = vit_encoder
    run(tmp_path / "run", lesions({"lesion": [1, 2]}), encoder)
    saved = files(tmp_path / "run")
    assert saved == files(done / "run")

    def never(**overrides):
        raise AssertionError("a trainer was made")

    run_study(probe(), lesions(), Protocol(seeds=[0], **FAST), never, tmp_path / "run", encoder)
    assert files(tmp_path / "run") == saved


def test_run_study_continues_an_interrupted_cell_to_the_bit(
    tmp_path, done, lesions, vit_encoder, monkeypatch
):
    encoder = vit_encoder
    monkeypatch.setattr("braindino.probing.callbacks.EVERY", 0.0)
    monkeypatch.setattr("braindino.probing.callbacks.SHARE", 0.0)
    stopping = interrupted(make_trainer, 5)

    protocol = Protocol(seeds=[0], **FAST)
    data = {"lesion": [1, 2]}
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        run_study(probe(), lesions(data), protocol, stopping, tmp_path / "run", encoder)
    assert (tmp_path / "run/cells/seed0_fraction1.0/unfinished.ckpt").is_file()
    run(tmp_path / "run", lesions(data), encoder)
    assert files(tmp_path / "run") == files(done / "run")


def test_run_study_with_all_options_of_training_continues_to_the_bit(
    tmp_path, lesions, vit_encoder, monkeypatch
):
    monkeypatch.setattr("braindino.probing.callbacks.EVERY", 0.0)
    monkeypatch.setattr("braindino.probing.callbacks.SHARE", 0.0)
    head = {"slices_per_case": 8, "hard_empty": 0.4, "deep_supervision": True, "image_size": 32}
    stopping = interrupted(make_trainer, 1)

    def study(name, trainers, **options):
        augment = Augmentation(rotation=10, zoom=0.1, gamma=0.2, noise=0.1)
        module = probe(head, augment=augment, ema=0.9)
        protocol = Protocol(seeds=[0], **{**FAST, "max_epochs": 3})
        data = lesions({"lesion": [1, 2]}, **options)
        run_study(module, data, protocol, trainers, tmp_path / name, encoder)

    encoder = vit_encoder
    study("whole", make_trainer)
    # Worker processes change nothing, because the main process draws the slices.
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        study("cut", stopping, num_workers=1)
    unfinished = torch.load(tmp_path / "cut/cells/seed0_fraction1.0/unfinished.ckpt", weights_only=True)
    counts = unfinished["callbacks"]["HardSlices"]["counts"]
    assert sum(int(values.sum()) for values in counts.values()) > 0
    study("cut", make_trainer)
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    saved = torch.load(tmp_path / "cut/cells/seed0_fraction1.0/probe.pt", weights_only=True)
    module = probe(head, ema=0.9)
    module.restore(saved, ("lesion",), encoder)
    assert len(module.head.auxiliary) == len(module.pooling.level_widths) - 2 > 0


def test_case_masks_of_a_saved_probe_equal_the_measured_ones(done, lesions, vit_encoder):
    encoder = vit_encoder
    saved = torch.load(done / "run/cells/seed0_fraction1.0/probe.pt", weights_only=True)
    module = probe()
    module.restore(saved, ("lesion",), encoder)
    data = lesions()
    data.setup()
    table = read_predictions(done / "run" / "predictions.csv").set_index("case")
    row = data.cases.set_index("case").loc[table.index[0]]
    record = data.store.index().set_index("key").loc[row["key_FLAIR"]]
    masks = case_masks(
        module,
        torch.from_numpy(np.array(data.store.slices(row["key_FLAIR"])))[None],
        torch.tensor([record["scale"]]),
        torch.tensor([record["zero_point"]]),
        torch.tensor([True]),
        data.store.geometry(row["key_FLAIR"]),
    )
    image = nibabel.load(row["mask"])
    assert masks["lesion"].shape == image.shape
    measures = segmentation_row(masks["lesion"], np.asarray(image.dataobj) > 0, image.affine)
    assert measures == pytest.approx(table.iloc[0][list(ROW)].to_list(), nan_ok=True)


def test_predict_cases_of_bfloat16_equal_the_measured_ones(tmp_path, lesions, vit_encoder):
    data = lesions({"rim": [1], "core": [2]})
    module = probe({"slices_per_case": 8, "neighbours": 1})
    run(tmp_path / "run", data, vit_encoder, module, max_epochs=2, precision="bfloat16")
    table = read_predictions(tmp_path / "run" / "predictions.csv")
    keys = data.cases.set_index("case")["key_FLAIR"]
    cases = {name: {"FLAIR": keys[name]} for name in table["case"]}
    predicted = dict(predict_cases(load_probe(tmp_path / "run", encoder=vit_encoder), cases, data.store))
    # In float32 a third of them differs by some voxels.
    volumes = [
        predicted[case].columns[f"{region}_ml"]
        for case, region in zip(table["case"], table["region"], strict=True)
    ]
    assert volumes == pytest.approx(table["predicted_ml"].to_list())


def test_run_study_of_overlapping_regions_with_an_untrained_baseline(tmp_path, lesions, vit_encoder):
    encoder = vit_encoder
    data = lesions({"whole": [1, 2], "core": [2]}, ("T1w", "FLAIR"))
    trained = encoder
    with torch.no_grad():
        trained.model.pos_embed = None if trained.model.pos_embed is None else trained.model.pos_embed
        trained.model.cls_token.add_(1)  # another digest than its twin's
    module = FrozenProbeModule("tiny", SegmentationHead(slices_per_case=8, decoder="paper"), lr=3e-3)
    results = run(tmp_path / "run", data, trained, module, max_epochs=2, baselines=True)
    assert list(results["baselines"]) == ["untrained_encoder"]
    assert set(results["summary"][0]["test"]["metrics"]) >= {"dice", "dice_whole", "dice_core", "hd95_core"}
    table = read_predictions(tmp_path / "run" / "predictions.csv")
    assert table.groupby("case")["region"].agg(list).map(tuple).unique().tolist() == [("whole", "core")]
    state = torch.load(tmp_path / "run/cells/seed0_fraction1.0/probe.pt", weights_only=True)["state"]
    assert state["pooling.fuse.weight"].shape == (3, 2, 1, 1)
    assert not torch.equal(state["pooling.fuse.weight"], torch.full((3, 2, 1, 1), 0.5))
    assert not any(name.startswith("trained.") for name in state)


def test_run_study_saves_an_unfrozen_encoder(tmp_path, lesions, vit_encoder):
    encoder = vit_encoder
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    run(tmp_path / "run", lesions(), encoder, probe(unfreeze=True, encoder_lr=1e-3), max_epochs=1)
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    saved = torch.load(tmp_path / "run/cells/seed0_fraction1.0/probe.pt", weights_only=True)
    assert not torch.equal(saved["state"]["trained.model.cls_token"], before["model.cls_token"])
    module = probe(unfreeze=True)
    module.restore(saved, ("lesion",), encoder)
    assert torch.equal(module.network.model.cls_token, saved["state"]["trained.model.cls_token"])


def test_probe_cases_of_refuses_a_head_for_other_data(tmp_path, lesions, vit_encoder):
    encoder = vit_encoder
    with pytest.raises(BraindinoError, match="ClassificationHead predicts no masks; the label of this"):
        run(tmp_path, lesions(), encoder, FrozenProbeModule("tiny", ClassificationHead()))
    with pytest.raises(BraindinoError, match="decodes patch tokens and pools nothing; leave it out"):
        FrozenProbeModule("tiny", SegmentationHead(), MeanPooling())
    encoder.patch_size = None
    with pytest.raises(BraindinoError, match="has no patch tokens"):
        run(tmp_path, lesions(), encoder)


def test_run_study_refuses_an_unsuitable_image_size_before_it_prepares_scans(
    tmp_path, lesions, vit_encoder, monkeypatch
):
    data = lesions()
    monkeypatch.setattr(type(data), "prepare_data", lambda self: pytest.fail("scans were prepared"))
    for head, message in (
        (SegmentationHead(image_size=100), "image_size 100: expected one number or two"),
        (SegmentationHead(image_size=[24, 32]), "smaller than the prepared slices of 32 x 32"),
    ):
        with pytest.raises(BraindinoError, match=message):
            run(tmp_path / "run", data, vit_encoder, FrozenProbeModule("tiny", head))
    assert not (tmp_path / "run").exists()
