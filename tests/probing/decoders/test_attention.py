"""Test the decoder by queries: a query per output, and tokens that see the whole slice."""

import torch

from braindino.probing.decoders.attention import AttentionDecoder
from tests.helpers.dense import OVERLAPPING, built_probe, dense_encoder, drawn_slices


def test_attention_decoder_has_a_query_per_region_and_background() -> None:
    batch = drawn_slices(1)
    exclusive = {"rim": (1,), "core": (2,)}
    for regions, outputs in ((exclusive, 3), (OVERLAPPING, 2)):
        module = built_probe("attention", batch, dense_encoder(depth=1), regions)
        decoder = module.pooling
        assert isinstance(decoder, AttentionDecoder)
        assert len(decoder.queries) == decoder.level_widths[0] == outputs
        assert not list(module.head.layers.parameters())


def test_attention_decoder_query_changes_only_its_output() -> None:
    """Except for the attention between queries, which is switched off here."""
    decoder = AttentionDecoder()
    decoder.outputs = 3
    decoder.build(8, 1, 1, 4, 1)
    decoder.mix = torch.nn.Sequential()
    tokens, images, present = torch.randn(1, 1, 1, 8, 3, 3), torch.randn(1, 1, 1, 12, 12), torch.ones(1, 1)
    with torch.no_grad():
        before = decoder(tokens, images, present.bool())
        decoder.queries[1] += 1
        after = decoder(tokens, images, present.bool())
    assert [torch.equal(before[:, k], after[:, k]) for k in range(3)] == [True, False, True]


def test_attention_decoder_tokens_see_the_whole_slice() -> None:
    torch.manual_seed(0)
    decoder = AttentionDecoder()
    decoder.outputs = 1
    decoder.build(8, 1, 1, 4, 1)
    tokens, images = torch.randn(1, 1, 1, 8, 16, 16), torch.randn(1, 1, 1, 64, 64)
    present = torch.ones(1, 1, dtype=torch.bool)
    changed = tokens.clone()
    changed[..., 0, 0] += 1
    with torch.no_grad():
        far = (decoder(tokens, images, present) - decoder(changed, images, present))[..., -4:, -4:]
    assert far.abs().max() > 1e-6
