"""Which way cases come to a probe: features kept once, the encoder in the loop, or slices with masks."""

from pathlib import Path

import torch

from braindino.datasets.datamodule import ScanDataModule
from braindino.encoders.base import Encoder
from braindino.encoders.features import extract
from braindino.errors import BraindinoError
from braindino.probing.data.base import CaseData
from braindino.probing.data.cases import CaseFeatures, ProbeCases
from braindino.probing.data.online import CaseScans
from braindino.probing.data.slices import CaseSlices, MaskedCases
from braindino.probing.heads.closed_form import ClosedForm
from braindino.probing.heads.segmentation import SegmentationHead
from braindino.probing.module import FrozenProbeModule
from braindino.probing.pooling import Pooling
from braindino.probing.protocol import Protocol


def check_way(module: FrozenProbeModule, protocol: Protocol) -> None:
    """Raise BraindinoError where what the user asks for needs the encoder in the loop, or out of it."""
    if isinstance(module.head, ClosedForm) and protocol.cache is False:
        raise BraindinoError(
            f"probe.cache: {type(module.head).__name__} is solved on kept features; leave probe.cache out."
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
    """The cases as `module` is trained on them, with `network` on `device`.

    masked: the cases with their masks; of a dense head only.
    """
    if masked is not None:
        assert isinstance(module.head, SegmentationHead)
        return CaseSlices(masked, network.to(device), module.head, progress)
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
