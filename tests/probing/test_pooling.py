"""Test pooling: masks, missing modalities, and fusion."""

import pytest
import torch

from braindino.errors import BraindinoError
from braindino.probing import GatedAttentionPooling, MeanPooling
from braindino.probing.pooling import GatedAttention

FUSIONS = ("mean", "concat", "attention")


def sample(cases=4, scans=2, slices=5, dim=6):
    torch.manual_seed(0)
    features = torch.randn(cases, scans, slices, dim)
    mask = torch.ones(cases, scans, slices, dtype=torch.bool)
    mask[0, 1] = False  # a modality is missing
    mask[1, 0, 3:] = False  # a scan is shorter
    return features * mask[..., None], mask


def built(pooling, dim=6, scans=2):
    torch.manual_seed(1)
    width = pooling.build(dim, scans)
    return pooling, width


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("kind", [MeanPooling, GatedAttentionPooling])
def test_pooling_ignores_masked_slices(kind, fusion):
    pooling, width = built(kind(fusion=fusion))
    features, mask = sample()
    features.requires_grad_()
    pooled = pooling(features, mask)
    assert pooled.shape == (4, width) == (4, 12 if fusion == "concat" else 6)
    pooled.square().sum().backward()
    assert features.grad.isfinite().all()
    assert (features.grad[~mask] == 0).all()
    assert all(p.grad.isfinite().all() for p in pooling.parameters())
    other = torch.where(mask[..., None], features.detach(), 1e3 * torch.randn_like(features))
    torch.testing.assert_close(pooling(other, mask), pooled)


def test_mean_pooling_averages_present_slices():
    pooling, _ = built(MeanPooling())
    features, mask = sample()
    pooled = pooling(features, mask)
    torch.testing.assert_close(pooled[0], features[0, 0].mean(0))
    expected = (features[1, 0, :3].mean(0) + features[1, 1].mean(0)) / 2
    torch.testing.assert_close(pooled[1], expected)


def test_pooling_concatenates_in_order_and_learns_the_gap():
    pooling, _ = built(MeanPooling("concat"))
    features, mask = sample()
    pooled = pooling(features, mask)
    torch.testing.assert_close(pooled[2, :6], features[2, 0].mean(0))
    assert (pooled[0, 6:] == 0).all()
    with torch.no_grad():
        pooling.absent.fill_(7.0)
    assert (pooling(features, mask)[0, 6:] == 7).all()


def test_gated_attention_equals_its_formula():
    torch.manual_seed(0)
    attention = GatedAttention(3, 4).double()
    items = torch.randn(5, 3, dtype=torch.float64)
    mask = torch.tensor([True, True, False, True, True])
    v, u, w = attention.content, attention.gate, attention.score.weight[0]
    scores = torch.stack([w @ (torch.tanh(v(x)) * torch.sigmoid(u(x))) for x in items])
    odds = scores.exp() * mask
    expected = (odds[:, None] * items).sum(0) / odds.sum()
    torch.testing.assert_close(attention(items, mask), expected)


def test_pooling_build_draws_new_parameters():
    pooling, _ = built(GatedAttentionPooling(4))
    before = pooling.attend.score.weight.clone()
    pooling.build(6, 2)
    assert not torch.equal(before, pooling.attend.score.weight)


def test_pooling_refuses_an_unknown_fusion():
    with pytest.raises(BraindinoError, match="fusion 'max': expected mean, concat, attention"):
        MeanPooling("max")
