"""Choice of the data of a probe: cached features, encoder in the loop, slices with masks."""

from pathlib import Path

import torch

from braindino.datasets.datamodule import ScanDataModule
from braindino.encoders.base import Encoder
from braindino.encoders.features import extract
from braindino.errors import BraindinoError
from braindino.probing.baselines.choice import check_names
from braindino.probing.data.base import CaseData
from braindino.probing.data.cases import CaseFeatures, ProbeCases
from braindino.probing.data.online import CaseScans
from braindino.probing.data.slices import CaseSlices, MaskedCases
from braindino.probing.data.tokens import cached_tokens, flip_of
from braindino.probing.heads.closed_form import ClosedForm
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.probing.module import FrozenProbeModule
from braindino.probing.pooling import Pooling
from braindino.probing.protocol import Protocol


def check_options(module: FrozenProbeModule, protocol: Protocol) -> None:
    """Raise BraindinoError for options that need the encoder in the loop, or cached features, or other heads.

    Args:
        module: the probe.
        protocol: states whether features are cached, and names the baselines.
    """
    check_names(module, protocol)
    if isinstance(module.head, ClosedForm) and protocol.cache is False:
        raise BraindinoError(
            f"probe.cache: {type(module.head).__name__} is solved on cached features; leave probe.cache out."
        )
    if isinstance(module.head, ClosedForm) and module.ema:
        raise BraindinoError(
            f"model.ema: {type(module.head).__name__} is solved at once, without steps to average over; "
            "leave it out."
        )
    if module.head.dense or protocol.cache is False:
        return
    if module.unfreeze:
        raise BraindinoError("model.unfreeze: the encoder is trained in the loop; set probe.cache: false.")
    if module.augment is not True:
        raise BraindinoError("model.augment: slices change in the loop only; set probe.cache: false.")


def case_data(
    network: Encoder,
    module: FrozenProbeModule,
    cases: ProbeCases,
    masked: MaskedCases | None,
    datamodule: ScanDataModule,
    protocol: Protocol,
    device: torch.device,
    progress: bool = False,
) -> CaseData:
    """Return the data on which a probe is trained.

    Args:
        network: the encoder.
        module: the probe.
        cases: all cases of the study.
        masked: the cases with their masks; None unless the head is dense.
        datamodule: the dataset, after `setup`.
        protocol: states whether and how features are cached.
        device: device that the encoder runs on.
        progress: show on stderr how many scans are extracted, or cases predicted.

    Raises:
        BraindinoError: the encoder takes whole scans and cannot be in the loop.
    """
    if masked is not None:
        assert isinstance(module.head, SegmentationHead)
        network = network.to(device)
        tokens = cached_tokens(network, module, cases, masked, protocol, progress)
        return CaseSlices(masked, network, module.head, progress, tokens, flip_of(module))
    if protocol.cache is False:
        if network.dimensions != 2:
            raise BraindinoError(
                f"probe.cache: {type(network).__name__} encodes whole scans, not slices in the loop; leave "
                "probe.cache out."
            )
        assert isinstance(module.pooling, Pooling)
        width = network.embed_dim * (2 if module.pooling.patches else 1)
        return CaseScans(cases, datamodule.store, network.to(device), width, datamodule.num_workers, progress)
    assert isinstance(module.pooling, Pooling)
    features = extract(
        network,
        datamodule.store,
        cases.keys,
        protocol.cache if isinstance(protocol.cache, Path) else datamodule.store.path / "features",
        batch_size=protocol.extraction_batch,
        precision=protocol.precision,
        device=device,
        progress=progress,
        level=module.pooling.level,
    )
    return CaseFeatures(cases, features, module.pooling)
