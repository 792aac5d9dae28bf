"""forward_tokens on timm's ViT: equal to timm without masks; effect of masks and drop path."""

import pytest
import torch

from braindino.encoders.vit import create_vit
from braindino.errors import BraindinoError
from braindino.pretraining.model.backbone import create_backbone, forward_tokens
from braindino.pretraining.model.rope import Rope
from tests.helpers.tiny_module import ARCHITECTURE, MODEL_ARGS

CPU = torch.device("cpu")
ROPE = Rope()


def backbone(in_chans: int = 1):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    return create_backbone(ARCHITECTURE, in_chans, **MODEL_ARGS).eval()


def timms(model):
    """Return timm's model with these weights."""
    timm_model = create_vit(ARCHITECTURE, in_chans=model.in_chans, **MODEL_ARGS).eval()
    timm_model.load_state_dict(model.state_dict())
    return timm_model


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("in_chans", [1, 3])
@pytest.mark.parametrize("size", [(32, 32), (48, 16)])
@torch.no_grad()
def test_forward_tokens_equals_timm(size: tuple[int, int], in_chans: int) -> None:
    model, images = backbone(in_chans), torch.randn(3, 1, *size)
    cls, patches = forward_tokens(model, images, ROPE.table(model, size[0] // 8, size[1] // 8, CPU))
    expected = timms(model).forward_features(images.expand(-1, in_chans, -1, -1))
    torch.testing.assert_close(cls, expected[:, 0])
    torch.testing.assert_close(patches, expected[:, model.num_prefix_tokens :])


def test_forward_tokens_gradient_equals_timms() -> None:
    model, images = backbone(), torch.randn(2, 1, 32, 32)
    cls, patches = forward_tokens(model, images, ROPE.table(model, 4, 4, CPU))
    (cls.square().sum() + patches.sin().sum()).backward()
    gradients = {n: p.grad for n, p in model.named_parameters()}
    reference = timms(model)
    tokens = reference.forward_features(images)
    (tokens[:, 0].square().sum() + tokens[:, model.num_prefix_tokens :].sin().sum()).backward()
    for (name, gradient), (again, parameter) in zip(
        gradients.items(), reference.named_parameters(), strict=True
    ):
        assert name == again
        torch.testing.assert_close(gradient, parameter.grad, msg=name)


@torch.no_grad()
def test_forward_tokens_replaces_masked_patches_only() -> None:
    model, table = backbone(), ROPE.table(backbone(), 4, 4, CPU)
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[0, 5] = True
    images, token = torch.randn(2, 1, 32, 32), torch.randn(1, 48)
    changed = images.clone()
    changed[0, :, 8:16, 8:16] += 5  # patch 5 of the first image
    first, again = (forward_tokens(model, x, table, None, mask, token) for x in (images, changed))
    assert torch.equal(first[0], again[0])
    unmasked = forward_tokens(model, changed, table)
    assert not torch.equal(first[0][0], unmasked[0][0])
    assert torch.equal(first[0][1], unmasked[0][1])


def test_drop_path_preserves_the_mean_without_global_random_state() -> None:
    model, table = backbone(), ROPE.table(backbone(), 4, 4, CPU)
    for block in model.blocks:
        block.gamma_1.data.fill_(1e-3)  # so small that blocks add up linearly
        block.gamma_2.data.fill_(1e-3)
    images = torch.randn(8, 1, 32, 32)
    with torch.no_grad():
        expected = forward_tokens(model, images, table)[0]
        state = torch.get_rng_state()
        g = generator()
        draws = [forward_tokens(model, images, table, drop_path=0.5, generator=g)[0] for _ in range(400)]
        assert torch.equal(torch.get_rng_state(), state)
        for block in model.blocks:
            block.gamma_1.data.zero_()
            block.gamma_2.data.zero_()
        bare = forward_tokens(model, images, table)[0]
    effect = (expected - bare).norm()
    assert (draws[0] - expected).norm() > 0.3 * effect
    assert (torch.stack(draws).mean(0) - expected).norm() < 0.1 * effect


def test_forward_tokens_recomputed_gives_the_same_gradient_with_drop_path() -> None:
    model, images = backbone(), torch.randn(6, 1, 32, 32)
    table = ROPE.table(model, 4, 4, CPU)
    gradients = []
    for recompute in (False, True):
        model.zero_grad()
        forward_tokens(model, images, table, drop_path=0.4, generator=generator(), recompute=recompute)[
            0
        ].sin().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        assert torch.equal(a, b)


@torch.no_grad()
def test_forward_tokens_rotates_each_block_by_its_table() -> None:
    model, images = backbone(), torch.randn(2, 1, 32, 32)
    first, second = (torch.randn_like(ROPE.table(model, 4, 4, CPU)) for _ in range(2))
    both = forward_tokens(model, images, [first, second])[0]
    assert torch.equal(both, forward_tokens(model, images, [first.clone(), second.clone()])[0])
    assert torch.equal(
        forward_tokens(model, images, first)[0], forward_tokens(model, images, [first, first])[0]
    )
    for other in ([first, first], [second, second], [second, first]):
        assert not torch.equal(both, forward_tokens(model, images, other)[0])


def test_create_backbone_dinov3_has_one_deviation_at_every_depth() -> None:
    sizes = {**MODEL_ARGS, "depth": 6, "embed_dim": 96}
    torch.manual_seed(0)
    theirs = create_backbone(ARCHITECTURE, 1, "timm", **sizes)
    torch.manual_seed(0)
    ours = create_backbone(ARCHITECTURE, 1, "dinov3", **sizes)
    for i, (block, scaled) in enumerate(zip(ours.blocks, theirs.blocks, strict=True)):
        for weight, timms_weight in (
            (block.attn.proj.weight, scaled.attn.proj.weight),
            (block.mlp.fc2.weight, scaled.mlp.fc2.weight),
        ):
            assert weight.std().item() == pytest.approx(0.02, rel=0.03)
            assert timms_weight.std().item() == pytest.approx(0.02 / (2 * (i + 1)) ** 0.5, rel=0.03)
        assert torch.equal(block.attn.qkv.weight, scaled.attn.qkv.weight)


def test_create_backbone_refuses_other_architectures() -> None:
    with pytest.raises(BraindinoError, match="no DINOv3 position encoding"):
        create_backbone("vit_tiny_patch16_224", 1)


@pytest.mark.parametrize("wanted", [[], [0], [3, 17, 31, 16]])
def test_forward_tokens_wanted_equal_those_of_the_whole_pass(wanted: list[int]) -> None:
    model, images = backbone(), torch.randn(2, 1, 32, 32)
    table, index = ROPE.table(model, 4, 4, CPU), torch.tensor(wanted, dtype=torch.long)
    gradients = []
    for whole in (True, False):
        model.zero_grad()
        cls, patches = forward_tokens(model, images, table, None if whole else index)
        patches = patches.flatten(0, 1)[index] if whole else patches
        gradients.append([cls.detach(), patches.detach()])
        (cls.sin().sum() + patches.square().sum()).backward()
        gradients[-1] += [p.grad.clone() for p in model.parameters() if p.grad is not None]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_drop_path_of_the_last_block_preserves_the_mean_of_wanted_tokens() -> None:
    model, images = backbone(), torch.randn(8, 1, 32, 32)
    table, index = ROPE.table(model, 4, 4, CPU), torch.arange(0, 128, 5)
    model.blocks = model.blocks[-1:]
    model.norm = torch.nn.Identity()
    model.blocks[0].gamma_1.data.fill_(1e-3)
    model.blocks[0].gamma_2.data.fill_(1e-3)
    with torch.no_grad():
        g = generator()
        cls, patches = forward_tokens(model, images, table, index)
        draws = [forward_tokens(model, images, table, index, drop_path=0.5, generator=g) for _ in range(400)]
        start = model.cls_token[0, 0]
    for of, expected in ((0, cls), (1, patches)):
        mean = torch.stack([draw[of] for draw in draws]).mean(0)
        spread = (draws[0][of] - expected).norm()
        assert spread > 0
        assert (mean - expected).norm() < 0.15 * spread
    branches = torch.stack([draw[0] for draw in draws]) - start
    left_out = (branches.abs().amax(-1) == 0).float().mean().item()
    assert left_out == pytest.approx(0.25, abs=0.03)  # both branches at once
