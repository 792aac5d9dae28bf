"""Rotary position encoding: tables equal timm's, changes stay in bounds, rotation is the closed form."""

import pytest
import torch

from braindino.pretraining.model.backbone import create_backbone
from braindino.pretraining.model.rope import Rope, RopeConfig, queries_keys_values
from tests.helpers.tiny_module import ARCHITECTURE, MODEL_ARGS

CPU = torch.device("cpu")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rope_table_equals_timms_and_is_cached() -> None:
    model = create_backbone(ARCHITECTURE, 1, **MODEL_ARGS)
    rope = Rope()
    assert torch.equal(rope.table(model, 5, 3, CPU), model.rope.get_embed((5, 3)))
    assert rope.table(model, 5, 3, CPU) is rope.table(model, 5, 3, CPU)


def test_rope_changed_scales_coordinates_within_their_bounds() -> None:
    model = create_backbone(ARCHITECTURE, 1, **MODEL_ARGS)
    rope = Rope()
    assert rope.changed(model, 4, 4, CPU, RopeConfig(None, None, None), generator(0)) is rope.table(
        model, 4, 4, CPU
    )
    period = model.rope.periods[-1]
    reference = torch.asin(rope.table(model, 4, 4, CPU)[0, len(model.rope.periods) - 1])
    factors = []
    for seed in range(40):
        table = rope.changed(model, 4, 4, CPU, RopeConfig(rescale=1.2), generator(seed))
        factors.append((torch.asin(table[0, len(model.rope.periods) - 1]) / reference).item())
    assert period > 10  # slow enough that asin does not wrap
    assert 1 / 1.2 <= min(factors) < 0.9
    assert 1.1 < max(factors) <= 1.2 + 1e-5


@pytest.mark.parametrize(("per_block", "distinct"), [(True, 2), (False, 1)])
def test_rope_training_tables_draw_per_block_as_dinov3_or_once_as_flexict(
    per_block: bool, distinct: int
) -> None:
    model = create_backbone(ARCHITECTURE, 1, **MODEL_ARGS)
    config = RopeConfig(per_block=per_block)
    tables = Rope().training_tables(model, 4, 4, CPU, config, generator(0))
    assert len(tables) == len(model.blocks) == 2
    assert len({table.sum().item() for table in tables}) == distinct
    unchanged = RopeConfig(rescale=None, per_block=per_block)
    rope = Rope()
    for table in rope.training_tables(model, 4, 4, CPU, unchanged, generator(0)):
        assert table is rope.table(model, 4, 4, CPU)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_queries_keys_values_rotates_and_its_gradient_rotates_back(dtype: torch.dtype) -> None:
    exact = torch.float64 if dtype == torch.float64 else torch.float32  # tables are never in half precision
    images, tokens, heads, width = 2, 5, 3, 8
    angle = torch.rand(tokens, 1, 1, width // 2, generator=generator(0), dtype=exact) * 6
    sin, cos = torch.cat([angle, angle], -1).sin(), torch.cat([angle, angle], -1).cos()
    given = torch.randn(images, tokens, 3, heads, width, generator=generator(1)).to(dtype)
    weights = torch.randn(3, images, heads, tokens, width, generator=generator(2)).to(dtype)

    leaf = given.clone().requires_grad_()
    parts = queries_keys_values(leaf * 1, sin, cos)  # a product, as it is used up
    sum((part * weight).sum() for part, weight in zip(parts, weights, strict=True)).backward()

    # pairs (j, j + width / 2) as complex numbers, turned by exp(i angle)
    def turn(x: torch.Tensor, sign: int) -> torch.Tensor:
        pairs = torch.complex(*x.double().chunk(2, dim=-1))
        pairs = pairs * torch.polar(torch.ones_like(angle, dtype=torch.float64), sign * angle.double())
        return torch.cat([pairs.real, pairs.imag], dim=-1)

    query, key, value = given.unbind(2)
    tables_last = [turn(x[:, :, None], 1)[:, :, 0] for x in (query, key)]
    rtol, atol = (1e-2, 2e-2) if dtype == torch.bfloat16 else (1e-5, 1e-5)
    for part, expected in zip(parts, [*tables_last, value.double()], strict=True):
        torch.testing.assert_close(part.double(), expected.transpose(1, 2), rtol=rtol, atol=atol)
    back = weights.transpose(2, 3)  # (3, images, tokens, heads, width)
    turned_back = [turn(x[:, :, None], -1)[:, :, 0] for x in back[:2]]
    expected = torch.stack([*turned_back, back[2].double()], dim=2)
    assert leaf.grad is not None
    torch.testing.assert_close(leaf.grad.double(), expected, rtol=rtol, atol=atol)


def test_queries_keys_values_refuses_a_second_derivative() -> None:
    angle = torch.ones(5, 1, 1, 8)
    given = torch.ones(2, 5, 3, 2, 8, requires_grad=True)
    query, _, _ = queries_keys_values(given * 1, angle.sin(), angle.cos())
    (first,) = torch.autograd.grad(query.square().sum(), given, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.square().sum().backward()
