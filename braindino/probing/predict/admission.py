"""Preparation and checks of new cases before a probe predicts them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from braindino.errors import BraindinoError
from braindino.files import read_json
from braindino.probing.predict.checks import CHECKS, TRAINING_SCANS, Deviation, Reference, check_scan
from braindino.probing.predict.inputs import NewScan, Rejection, choose_scans
from braindino.probing.predict.probe import FinishedProbe
from braindino.probing.predict.seen_scans import seen_scans
from braindino.scans.skull_stripping import check_strip_cmd, show_command, strip_cmd_option
from braindino.scans.statistics import measure
from braindino.scans.store.fill import fill
from braindino.scans.store.store import Store


@dataclass(frozen=True)
class AdmittedCases:
    """The cases that may be predicted.

    Attributes:
        keys: case -> modality -> key in the store.
        warnings: case -> its warnings.
        rejections: the other cases and scans.
    """

    keys: dict[str, dict[str, str]] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)


def check_accepted(accept: Collection[str]) -> None:
    """Raise BraindinoError unless all names are checks that may be accepted."""
    unknown = sorted(set(accept) - (set(CHECKS) - {"readable"}))
    if unknown:
        raise BraindinoError(f"--accept {unknown[0]}: expected one of {', '.join(CHECKS[1:])}.")


def open_store(probe: FinishedProbe, path: Path, strip_cmd: str | None) -> Store:
    """Return the store for scans that a probe predicts; it is made if it does not exist.

    Args:
        probe: the probe.
        path: folder of the store.
        strip_cmd: skull-stripping command that the user gave; "none" for scans that are stripped already.

    Raises:
        BraindinoError: the training scans were stripped by a command, and the user gave none; or the store
            was prepared with a different contract or command.
    """
    trained = probe.facts["strip_cmd"]
    if strip_cmd is None and trained is not None and not (path / "contract.json").is_file():
        raise BraindinoError(
            f"{probe.run}: its training scans went through a skull-stripping command:\n"
            f"    {show_command(trained)}\n"
            f"A command is run only if you give it. If you trust this one: {strip_cmd_option(trained)}\n"
            "If the scans are stripped already: --strip-cmd none"
        )
    command = None if strip_cmd == "none" else strip_cmd
    if command is not None:
        check_strip_cmd(command)
    store = Store.create(path, probe.encoder.preprocessing, command)
    store.check_strip_cmd(trained if strip_cmd is None else command)
    return store


def admit_cases(
    probe: FinishedProbe,
    cases: Mapping[str, Mapping[str, NewScan]],
    store: Store,
    jobs: int = 1,
    accept: Collection[str] = (),
    rejections: Sequence[Rejection] = (),
    progress: bool = True,
) -> AdmittedCases:
    """Prepare the scans of new cases, and compare them with the training scans of a probe.

    Args:
        probe: the probe.
        cases: case -> modality -> scan.
        store: the scans are prepared into it.
        jobs: processes that prepare scans.
        accept: checks whose rejections become warnings.
        rejections: rejections of `find_cases`, which are listed first.
        progress: show on stderr how many scans are prepared.

    Raises:
        BraindinoError: the run folder has no record of the training scans of a modality.
    """
    training = _training_scans(probe)
    may_miss = [name for name in probe.modalities if training[name]["missing"] > 0]
    chosen = {name: choose_scans(scans, probe.modalities, may_miss) for name, scans in cases.items()}
    rows = [
        {"path": scan.path, "modality": modality, "subject": name}
        for name, (taken, _) in chosen.items()
        for modality, scan in taken.items()
    ]
    fill(store, pd.DataFrame(rows, columns=["path", "modality", "subject"]), jobs=jobs, progress=progress)
    store.refresh()
    reasons = dict(store.rejects()[["path", "reason"]].itertuples(index=False, name=None))
    admitted = AdmittedCases(rejections=list(rejections))
    for name, (taken, deviations) in chosen.items():
        sources = "; ".join(str(scan.source) for scan in cases[name].values())
        located = [(sources, deviation) for deviation in deviations]
        keys, unreadable = _check_scans(name, taken, store, probe, training, reasons, located)
        rejecting = [(path, each) for path, each in located if each.rejects and each.check not in accept]
        admitted.rejections.extend(unreadable)
        admitted.rejections.extend(
            Rejection(name, path, each.check, each.message) for path, each in rejecting
        )
        if keys and not unreadable and not rejecting:
            admitted.keys[name] = keys
            admitted.warnings[name] = [f"{each.check}: {each.message}" for _, each in located]
    seen = seen_scans(probe, store, [key for keys in admitted.keys.values() for key in keys.values()])
    for name, keys in admitted.keys.items():
        unique = dict.fromkeys(keys.values())
        admitted.warnings[name].extend(f"seen: {seen[key]}" for key in unique if key in seen)
    return admitted


def _training_scans(probe: FinishedProbe) -> dict[str, Reference]:
    """Return the ranges of the training scans by modality."""
    file = probe.run / TRAINING_SCANS
    training: dict[str, Reference] = read_json(file, dict[str, Reference])
    if missing := [name for name in probe.modalities if name not in training]:
        raise BraindinoError(f"{file}: key {missing[0]!r} is missing.")
    return training


def _check_scans(
    name: str,
    scans: Mapping[str, NewScan],
    store: Store,
    probe: FinishedProbe,
    training: Mapping[str, Reference],
    reasons: Mapping[str, str],
    located: list[tuple[str, Deviation]],
) -> tuple[dict[str, str], list[Rejection]]:
    """Check the scans of a case, and append their deviations to `located`.

    Returns:
        The keys by modality, and rejections of scans that cannot be read.
    """
    native = probe.encoder.preprocessing.orientation == "native"
    keys: dict[str, str] = {}
    unreadable = []
    for modality, scan in scans.items():
        key = store.key_of(scan.path)
        if key is None:
            reason = reasons.get(str(scan.path.absolute()), "not in the store")
            unreadable.append(Rejection(name, str(scan.source), "readable", reason))
            continue
        keys[modality] = key
        deviations = check_scan(measure(store, key), training[modality], native)
        located.extend((str(scan.source), deviation) for deviation in deviations)
    return keys, unreadable
