"""Test what all decoders do: they learn slices and their sizes, and depend only on what they may see."""

import re
from functools import cache

import pytest
import torch

from braindino.datasets.masks import region_membership
from braindino.encoders.vit import ViTEncoder, create_vit
from braindino.errors import BraindinoError
from braindino.probing import FrozenProbeModule, SegmentationHead
from braindino.probing.decoders.registry import DECODERS, decoder_class
from braindino.scans.contract import Preprocessing
from tests.helpers.dense import OVERLAPPING, built_probe, dense_encoder, dice, drawn_slices, fit
from tests.helpers.documents import ROOT

# Steps, learning rate and image size by which four slices are learnt.
TRAINING = {
    "conv": (40, 3e-3, 64),
    "detail": (20, 3e-3, 64),
    "attention": (30, 3e-3, 64),
    "linear": (80, 1e-1, 128),
    "paper": (30, 1e-2, None),
    "unet": (15, 3e-3, None),
}
# A linear map of tokens is as coarse as they are: its region consists of patches.
BLOCK = {"linear": 8}


@cache
def trained(name: str) -> FrozenProbeModule:
    """Return a probe trained on four slices."""
    steps, lr, image_size = TRAINING[name]
    batch = drawn_slices(block=BLOCK.get(name, 1))
    module = built_probe(name, batch, dense_encoder(depth=2), image_size=image_size)
    fit(module, batch, steps, lr)
    return module


@pytest.mark.parametrize("name", DECODERS)
def test_decoder_overfits_four_slices(name: str) -> None:
    assert dice(trained(name), drawn_slices(block=BLOCK.get(name, 1))) > 0.98


@pytest.mark.parametrize("name", DECODERS)
def test_decoder_scores_lower_for_shifted_masks(name: str) -> None:
    batch = drawn_slices(block=BLOCK.get(name, 1))
    right = dice(trained(name), batch)
    for shift in ((3, 0), (0, -3)):
        assert dice(trained(name), {**batch, "target": batch["target"].roll(shift, (1, 2))}) < right - 0.1


@pytest.mark.parametrize("name", ["conv", "paper"])
def test_decoder_does_not_learn_shuffled_masks_of_new_slices(name: str) -> None:
    """Trained on the right masks it segments new slices; trained on those of other slices it does not."""
    steps, lr, image_size = TRAINING[name]
    batch, new = drawn_slices(6, seed=0), drawn_slices(6, seed=1)
    scores = []
    for target in (batch["target"], batch["target"].roll(1, 0)):
        module = built_probe(name, batch, dense_encoder(depth=2), image_size=image_size)
        fit(module, {**batch, "target": target}, steps // 2, lr)
        scores.append(dice(module, new))
    assert scores[0] > scores[1] + 0.1


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize(("size", "patch_size"), [((24, 40), 8), ((28, 42), 14), ((32, 48), 16)])
def test_decoder_returns_logits_in_the_size_of_the_slice(
    name: str, size: tuple[int, int], patch_size: int
) -> None:
    batch = drawn_slices(2, size, modalities=2)
    encoder = dense_encoder(size, depth=1, patch_size=patch_size, in_chans=1)
    module = built_probe(name, batch, encoder, OVERLAPPING, image_size=None)
    output = module.forward_batch(batch)
    assert output.shape == (2, 2, *size)
    assert output.isfinite().all()
    (loss := module.training_step(batch, 0)).backward()
    assert loss.isfinite()
    assert all(value.grad is not None for value in module.parameters() if value.requires_grad)


@pytest.mark.parametrize("name", DECODERS)
def test_decoder_returns_a_background_of_exclusive_regions(name: str) -> None:
    batch = drawn_slices(1)
    module = built_probe(name, batch, dense_encoder(depth=1), {"rim": (1,), "core": (2,)})
    assert module.forward_batch(batch).shape == (1, 3, 32, 32)


@pytest.mark.parametrize("name", DECODERS)
def test_decoder_without_tokens_does_not_depend_on_the_encoder(name: str) -> None:
    batch = drawn_slices(2)
    encoders = [dense_encoder(depth=1, seed=seed) for seed in (0, 1)]
    for use_tokens in (False, True):
        outputs = [
            built_probe(name, batch, encoder, use_tokens=use_tokens).forward_batch(batch)
            for encoder in encoders
        ]
        depends = use_tokens and name != "unet"
        assert torch.equal(*outputs) is not depends


@pytest.mark.parametrize("name", DECODERS)
def test_decoder_does_not_see_a_missing_modality(name: str) -> None:
    batch = drawn_slices(2, modalities=2)
    batch["present"][1, 0] = False
    module = built_probe(name, batch, dense_encoder(depth=1))
    outputs = []
    for value in (90, 200):
        batch["slices"][1, 0] = value
        outputs.append(module.forward_batch(batch))
    torch.testing.assert_close(*outputs, rtol=0, atol=0)
    batch["present"][1, 0] = True
    assert not torch.equal(module.forward_batch(batch)[1], outputs[0][1])
    torch.testing.assert_close(module.forward_batch(batch)[0], outputs[0][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(DECODERS) - {"paper"}))
def test_decoder_of_neighbours_sees_the_adjacent_slices(name: str) -> None:
    batch = drawn_slices(2)
    stacked = {**batch, "slices": torch.stack([batch["slices"].roll(k, 2) for k in (-1, 0, 1)], dim=1)}
    module = built_probe(name, stacked, dense_encoder(depth=1), neighbours=1)
    output = module.forward_batch(stacked)
    assert output.shape == (2, 2, 32, 32)
    changed = stacked["slices"].clone()
    changed[0, 2] = 90
    assert not torch.equal(module.forward_batch({**stacked, "slices": changed})[0], output[0])


@pytest.mark.parametrize("name", DECODERS)
def test_decoder_is_deterministic(name: str) -> None:
    batch = drawn_slices(2)
    losses = []
    for _ in range(2):
        module = built_probe(name, batch, dense_encoder(depth=1), image_size=None)
        fit(module, batch, 2, 1e-2)
        losses.append(module.training_step(batch, 0).item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", DECODERS)
def test_decoder_is_finite_in_mixed_precision(name: str) -> None:
    batch = drawn_slices(2)
    module = built_probe(name, batch, dense_encoder(depth=1))
    with torch.autocast("cpu", torch.bfloat16):
        loss = module.training_step(batch, 0)
        mixed = module.forward_batch(batch)
    loss.backward()
    assert loss.isfinite()
    assert all(value.grad.isfinite().all() for value in module.parameters() if value.grad is not None)
    expected = module.forward_batch(batch)
    assert (mixed.float() - expected).norm() < 0.1 * expected.norm()


@pytest.mark.parametrize("name", sorted(set(DECODERS) - {"unet"}))
@pytest.mark.parametrize("architecture", ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"])
def test_decoder_reads_tokens_of_an_encoder_with_absolute_positions(name: str, architecture: str) -> None:
    arguments = {"embed_dim": 48, "depth": 1, "num_heads": 2, "dynamic_img_size": True, "img_size": 112}
    torch.manual_seed(0)
    vit = create_vit(architecture, **arguments)
    encoder = ViTEncoder(vit, Preprocessing(depth=8, size=(112, 112)), architecture, arguments)
    batch = drawn_slices(1, (112, 112))
    module = built_probe(name, batch, encoder, image_size=224)
    output = module.forward_batch(batch)
    assert output.shape == (1, 2, 112, 112)
    assert output.isfinite().all()


def test_forward_batch_with_test_flips_averages_a_slice_and_its_mirror_image() -> None:
    batch = drawn_slices(2)
    mirrored = {**batch, "slices": batch["slices"].flip(-1)}
    plain, flipping = (
        built_probe("conv", batch, dense_encoder(depth=1), test_flips=f) for f in (False, True)
    )
    expected = (plain.forward_batch(batch).softmax(1) + plain.forward_batch(mirrored).softmax(1).flip(-1)) / 2
    output = flipping.forward_batch(batch)
    torch.testing.assert_close(output.softmax(1), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(flipping.forward_batch(mirrored).flip(-1), output, rtol=1e-4, atol=1e-4)
    flipping.train()
    torch.testing.assert_close(flipping.forward_batch(batch), plain.train().forward_batch(batch))


def test_forward_batch_with_test_flips_leaves_a_symmetrical_probe_unchanged() -> None:
    """A decoder that maps each pixel by itself commutes with flips."""
    batch, outputs = drawn_slices(2), []
    for test_flips in (False, True):
        module = built_probe("unet", batch, dense_encoder(depth=1), test_flips=test_flips)
        pointwise = torch.nn.Conv2d(3, 32, 1)
        torch.nn.init.constant_(pointwise.weight, 0.1)
        pointwise.weight.data[:, 2] = 0  # coordinates of the columns
        module.pooling.network = pointwise
        outputs.append(module.forward_batch(batch).softmax(1).detach())
    torch.testing.assert_close(*outputs, rtol=1e-4, atol=1e-5)


def test_decoder_class_refuses_an_unknown_name() -> None:
    with pytest.raises(
        BraindinoError, match=r"decoder 'covn': expected conv, detail, attention, linear, pap"
    ):
        decoder_class("covn")
    with pytest.raises(BraindinoError, match="decoder 'covn'"):
        SegmentationHead(decoder="covn")  # type: ignore[arg-type]


def test_documented_parameters_are_those_of_the_decoders() -> None:
    """The table in docs/segmentation.md: one modality, one region, slices of 256 x 256."""
    text = (ROOT / "docs" / "segmentation.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([\d,]+) \| ([\d,]+) \|", text, re.MULTILINE)
    counted = {}
    for name in DECODERS:
        counts = []
        for embed_dim in (384, 768):
            head = SegmentationHead(decoder=name)  # type: ignore[arg-type]
            head.resolve((256, 256), 16)
            decoder, target = head.make_decoder(), torch.from_numpy(region_membership({"lesion": (1,)}))
            decoder.outputs = head.count_outputs(target)
            with torch.device("meta"):
                width = decoder.build(embed_dim, 1, 12, 16, 3, (256, 256))
                head.build(width, target, ("lesion",))
            parameters = [*decoder.parameters(), *head.parameters()]
            counts.append(f"{sum(value.numel() for value in parameters):,}")
        counted[name] = tuple(counts)
    assert {name: counts for name, *counts in rows} == {name: [*c] for name, c in counted.items()}
