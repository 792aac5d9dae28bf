"""Predict new scans with a finished probe."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from braindino.progress import track
from braindino.verbs.opening import Device, as_paths, check_store, open_device

if TYPE_CHECKING:
    import pandas as pd

    from braindino.encoders.base import Encoder
    from braindino.probing.predict.inputs import Rejection
    from braindino.probing.predict.probe import FinishedProbe


@dataclass(frozen=True)
class Predictions:
    """Predictions of new scans, as they were written into a folder.

    Attributes:
        out: the folder.
        table: rows of predictions.csv, one per case.
        rejections: cases and scans that were not predicted; rows of rejects.csv.
        probe: the probe.
    """

    out: Path
    table: "pd.DataFrame"
    rejections: "list[Rejection]"
    probe: "FinishedProbe"


def predict(
    scans: Sequence[Path | str] | Path | str,
    probe: "FinishedProbe | Path | str",
    out: Path | str,
    *,
    encoder: "Encoder | Path | str | None" = None,
    seed: int | None = None,
    fraction: float | None = None,
    accept: Collection[str] = (),
    strip_cmd: str | None = None,
    trust_class: Sequence[str] = (),
    store: Path | str | None = None,
    jobs: int = 1,
    batch_size: int = 128,
    device: Device = "auto",
    prepare: bool = False,
    progress: bool = True,
) -> Predictions:
    """Predict new scans with a finished probe, and write tables and masks into a folder.

    Scans that differ from the training scans of the probe are rejected, or get a warning.

    Args:
        scans: NIfTI files, folders of them or of DICOM series, or manifests; one or several.
        probe: run folder of `braindino probe`, or the result of `load_probe`.
        out: folder to write into.
        encoder: the probe's encoder, if it is not where it was; see `load_probe`.
        seed: seed of one probe; by default all seeds are averaged; see `load_probe`.
        fraction: label fraction; by default the largest; see `load_probe`.
        accept: checks whose rejections become warnings: modality, orientation, stripped.
        strip_cmd: skull-stripping command, as `hd-bet -i {in} -o {out}`; "none" for scans that are stripped.
        trust_class: classes of head and pooling outside of braindino that the probe may name.
        store: folder of prepared scans; by default `store` in `out`.
        jobs: processes that prepare scans.
        batch_size: slices per forward of the encoder.
        device: device that the encoder runs on.
        prepare: make a store that does not exist, also where others lie near by.
        progress: show on stderr how many scans are prepared, extracted and predicted.

    Raises:
        BraindinoError: an argument cannot be used, a scan does not exist, or the probe cannot be loaded.
    """
    from braindino.probing.predict.admission import admit_cases, check_accepted, open_store
    from braindino.probing.predict.inputs import find_cases
    from braindino.probing.predict.outputs import write_predictions
    from braindino.probing.predict.predictor import predict_cases
    from braindino.probing.predict.probe import FinishedProbe, load_probe

    out = Path(out)
    check_accepted(accept)
    target = open_device(device)
    folder = out / "store" if store is None else Path(store)
    check_store(folder, prepare or store is None, progress)
    if not isinstance(probe, FinishedProbe):
        probe = load_probe(probe, seed, fraction, encoder, trust_class)
    sources = as_paths(scans)
    cases, rejections = find_cases(sources, probe.modalities, out / "dicom")
    prepared = open_store(probe, folder, strip_cmd)
    admitted = admit_cases(probe, cases, prepared, jobs, accept, rejections, progress)
    predictions = predict_cases(probe, admitted.keys, prepared, target, batch_size, progress)
    shown = track(predictions, len(admitted.keys), "predict", progress, unit="case")
    table, rejections = write_predictions(out, shown, probe, cases, admitted, prepared)
    return Predictions(out, table, rejections, probe)
