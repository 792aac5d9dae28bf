"""Recognition of scans that a probe, or its encoder, was trained on."""

from collections.abc import Iterable

from braindino.datasets.pretraining.exclude import SCANS
from braindino.datasets.tables import read_table
from braindino.probing.predict.probe import FinishedProbe
from braindino.scans.store.store import Store


def seen_scans(probe: FinishedProbe, store: Store, keys: Iterable[str]) -> dict[str, str]:
    """Return key -> a warning for scans that were trained on: their predictions are too good.

    Scans are recognised by their content. In cross-validation every case of a study is a training case of
    the other folds.

    Args:
        probe: the probe; its run folder has `cases.csv`, which lists no scans in early versions.
        store: store that contains the scans.
        keys: keys of the scans.
    """
    by_probe = _training_scans(probe)
    by_encoder = frozenset() if probe.encoder.seen is None else probe.encoder.seen.scans
    warnings = {}
    for key, digests in store.digests(keys).items():
        if by_probe.intersection(digests):
            warnings[key] = "the probe was trained on this scan"
        elif by_encoder.intersection(digests):
            warnings[key] = "the encoder was pretrained on this scan"
    return warnings


def _training_scans(probe: FinishedProbe) -> frozenset[str]:
    """Return the digests of the scans that a probe was trained on."""
    file = probe.run / "cases.csv"
    if not file.is_file():
        return frozenset()
    cases = read_table(file, {"split": ("split",)}, {SCANS: (SCANS,)})
    if SCANS not in cases:
        return frozenset()
    if not probe.facts.get("folds"):
        cases = cases[cases["split"] == "train"]
    return frozenset(digest for scans in cases[SCANS] for digest in scans.split())
