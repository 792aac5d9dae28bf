"""Test the linear decoder: a linear map of each token, enlarged."""

import torch
from torch.nn import functional

from braindino.probing.decoders.linear import LinearDecoder
from tests.helpers.dense import built_probe, dense_encoder, drawn_slices


def test_linear_decoder_equals_logits_of_each_token_enlarged() -> None:
    torch.manual_seed(0)
    decoder = LinearDecoder()
    decoder.outputs = 2
    decoder.build(8, 1, 12, 4, 1)
    decoder.eval()
    assert decoder.blocks == [11]
    tokens, images = torch.randn(2, 1, 1, 8, 3, 4), torch.randn(2, 1, 1, 12, 16)
    present = torch.ones(2, 1, dtype=torch.bool)
    weight, bias = decoder.classify.weight[:, :, 0, 0], decoder.classify.bias
    assert bias is not None
    logits = torch.einsum("oc,bchw->bohw", weight, tokens[:, 0, 0] / (1 + 1e-5) ** 0.5) + bias[:, None, None]
    expected = functional.interpolate(logits, (12, 16), mode="bilinear")
    torch.testing.assert_close(decoder(tokens, images, present), expected)


def test_linear_decoder_trains_a_weight_per_feature_and_output() -> None:
    module = built_probe("linear", drawn_slices(2), dense_encoder(depth=2))
    assert {name: tuple(value.shape) for name, value in module.named_parameters()} == {
        "pooling.classify.weight": (2, 48, 1, 1),
        "pooling.classify.bias": (2,),
    }
    weight = module.get_parameter("pooling.classify.weight")
    assert 0.005 < float(weight.detach().std()) < 0.015
