"""The examples of a segmentation: the right cases, and what is true and what was answered of them."""

import numpy as np
import pandas as pd
import pytest
from lightning.pytorch import Trainer

from braindino.analysis.predictions import read_predictions
from braindino.probing import FrozenProbeModule, Protocol, SegmentationHead, run_study
from braindino.probing.artifacts.examples import choose_examples


def rows(dice, true):
    return pd.DataFrame({"case": [f"c{i}" for i in range(len(dice))], "dice": dice, "true_ml": true})


def test_choose_examples_skips_empty_masks():
    table = pd.concat([rows([0.9, 0.5, 1.0, 0.7], [1, 1, 0, 2])] * 2)
    chosen = choose_examples(table)
    assert chosen["case"].to_dict() == {"best": "c0", "median": "c3", "worst": "c1"}
    assert chosen.loc["worst", "dice"] == pytest.approx(0.5)
    assert choose_examples(rows([1.0, 0.0], [0, 0]))["case"].to_dict() == {
        "best": "c0",
        "median": "c1",
        "worst": "c1",
    }


def test_train_cell_writes_examples(tmp_path, lesions, vit_encoder):
    encoder = vit_encoder
    protocol = Protocol(seeds=[0], max_epochs=2, resamples=0, baselines=False)
    module = FrozenProbeModule("tiny", SegmentationHead(slices_per_case=8), lr=3e-3)
    data = lesions({"lesion": [1, 2], "core": [2]})
    run_study(
        module, data, protocol, lambda **o: Trainer(accelerator="cpu", devices=1, **o), tmp_path, encoder
    )
    saved = np.load(tmp_path / "cells" / "seed0_fraction1.0" / "examples.npz", allow_pickle=False)
    assert saved["place"].tolist() == ["best", "median", "worst"]
    assert saved["regions"].tolist() == ["lesion", "core"]
    assert saved["image"].shape == (3, 32, 32)
    assert saved["truth"].shape == saved["answer"].shape == (3, 2, 32, 32)
    table = read_predictions(tmp_path / "predictions.csv").query("split == 'test'")
    dice = table.groupby("case")["dice"].mean()
    assert saved["dice"].tolist() == pytest.approx(dice[saved["case"]].tolist())
    # The slice is one that shows the lesion, which is bright in the image.
    assert saved["truth"][:, 0].any(axis=(1, 2)).all()
    for image, truth in zip(saved["image"], saved["truth"][:, 0], strict=True):
        assert image[truth].mean() > image[image > 0].mean()
