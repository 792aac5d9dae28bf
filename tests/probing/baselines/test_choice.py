"""Test which baselines apply to a probe."""

import pytest

from braindino.errors import BraindinoError
from braindino.probing import ClassificationHead, FrozenProbeModule, Protocol, SegmentationHead
from braindino.probing.baselines.choice import check_names, chosen_baselines
from braindino.probing.data.cases import ProbeCases


def segmentation(**options):
    return FrozenProbeModule("tiny", SegmentationHead(**options))


@pytest.mark.parametrize(
    ("module", "name", "reason"),
    [
        (FrozenProbeModule("tiny", ClassificationHead()), "unet", "only a segmentation has it"),
        (FrozenProbeModule("tiny", ClassificationHead()), "no_tokens", "only a segmentation has it"),
        (segmentation(), "age_sex_site", "predict no masks"),
        (segmentation(decoder="unet"), "unet", "is this U-Net itself"),
        (segmentation(decoder="unet"), "no_tokens", "decoder unet of the probe reads no tokens"),
        (segmentation(decoder="unet"), "untrained_encoder", "decoder unet of the probe reads no tokens"),
        (segmentation(decoder="linear"), "no_tokens", "decoder linear are the same in every slice"),
        (segmentation(use_tokens=False), "untrained_encoder", r"are zero \(model\.head"),
    ],
)
def test_check_names_refuses_what_does_not_apply(module, name, reason):
    with pytest.raises(BraindinoError, match=rf"probe\.baselines {name}: .*{reason}"):
        check_names(module, Protocol(baselines=[name]))
    check_names(module, Protocol(baselines=True))


def test_check_names_takes_the_decoder_of_the_recipe():
    check_names(segmentation(), Protocol(baselines="no_tokens"))
    with pytest.raises(BraindinoError, match="decoder paper are the same"):
        check_names(segmentation(), Protocol(baselines="no_tokens", recipe="paper"))


@pytest.mark.parametrize(
    ("options", "baselines", "chosen"),
    [
        ({}, True, ["untrained_encoder"]),
        ({}, False, []),
        ({}, ["unet", "no_tokens"], ["untrained_encoder", "no_tokens", "unet"]),
        ({"decoder": "detail"}, True, ["untrained_encoder", "no_tokens"]),
        ({"decoder": "detail"}, "unet", ["untrained_encoder", "no_tokens", "unet"]),
        ({"decoder": "detail", "use_tokens": False}, True, []),
        ({"decoder": "unet"}, True, []),
    ],
)
def test_chosen_baselines_of_a_segmentation(lesions, options, baselines, chosen):
    data, module = lesions(), segmentation(**options)
    data.prepare_data()
    data.setup()
    cases = ProbeCases.of(data, module.head, "mask")
    assert chosen_baselines(module, cases, Protocol(baselines=baselines)) == chosen


def test_chosen_baselines_of_a_classification(planted):
    module = FrozenProbeModule("tiny", ClassificationHead())
    cases = ProbeCases.of(planted(), module.head, "mask")
    assert chosen_baselines(module, cases, Protocol()) == ["age_sex_site", "untrained_encoder"]
    assert chosen_baselines(module, cases, Protocol(baselines="age_sex_site")) == [
        *("age_sex_site", "untrained_encoder")
    ]
