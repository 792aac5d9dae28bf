"""`braindino predict`: new scans through a finished probe, held against what it was trained on."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindino.errors import BraindinoError
from braindino.verbs.opening import Device

if TYPE_CHECKING:
    from braindino.probing.predict.checks import Finding
    from braindino.probing.predict.inputs import NewScan, Refused
    from braindino.probing.predict.probe import FinishedProbe
    from braindino.scans.store.store import Store

SHOWN = 10  # lines of refusals and warnings


def predict(
    *scans: Path,
    probe: Path,
    out: Path,
    encoder: str | None = None,
    seed: int | None = None,
    fraction: float | None = None,
    accept: list[str] | None = None,
    strip_cmd: str | None = None,
    trust_class: list[str] | None = None,
    store: Path | None = None,
    jobs: int = 1,
    batch_size: int = 128,
    device: Device = "auto",
    prepare: bool = False,
) -> int:
    """Predict new scans with a finished probe; write predictions.csv, and masks as NIfTI, into a folder.

    A class has its probabilities; a number, of several seeds, its deviation over them; a risk its survival
    curve in survival.csv; a segmentation its mask in the scan's own space, named as BIDS derivatives are.
    What the probe was not made for is refused (rejects.csv) or warned about (column `warnings`) by name:
    readable, modality, orientation, stripped, spacing, shape, foreground, intensity; and refused if what the
    encoder or the probe makes of it is not finite. A scan that either was trained on is warned about as
    `seen`. The same command again goes on where it was interrupted.

    Args:
        scans: NIfTI files, folders of them or of DICOM series, or manifests (several modalities per case).
        probe: run folder of `braindino probe`.
        out: folder to write into.
        encoder: where the probe's encoder is now, if it has moved.
        seed: of the probe; by default the mean over all its seeds. Of a cross-validation the probes of all
            folds answer together in any case.
        fraction: of the labels it was trained on; by default the largest there is.
        accept: checks whose refusals become warnings: modality, orientation, stripped; once or several times.
        strip_cmd: skull-stripping command, such as `hd-bet -i {in} -o {out}`. Where the training scans went
            through one, repeat it, or say `none` for scans that are stripped already: a command that only the
            probe names is not run.
        trust_class: class of a head or pooling of your own, such as `my_heads.Mine`, that the probe may name;
            once or several times. One that only the probe names is not imported.
        store: folder of prepared scans; if omitted, `store` in the output folder, made there.
        prepare: make the store that --store names, also where others lie near by.
        jobs: processes that prepare scans.
        batch_size: slices that go through the encoder at once.
        device: where the encoder runs.

    Returns:
        0, or 1 when a case was refused: the others are predicted.
    """
    from braindino.probing.predict.checks import CHECKS
    from braindino.probing.predict.inputs import find_cases
    from braindino.probing.predict.outputs import describe_derivatives, plain_label, write_table
    from braindino.probing.predict.probe import load_probe
    from braindino.verbs.opening import check_store, open_device

    unknown = sorted(set(accept or ()) - (set(CHECKS) - {"readable"}))
    if unknown:
        raise BraindinoError(f"--accept {unknown[0]}: expected one of {', '.join(CHECKS[1:])}.")
    target = open_device(device)
    check_store(store or out / "store", prepare or store is None)
    finished = load_probe(probe, seed, fraction, encoder, trust_class or ())
    cases, refused = find_cases(scans, finished.modalities, out / "dicom")
    prepared = _open_store(finished, store or out / "store", strip_cmd)
    keys, warnings = _admit(finished, cases, prepared, jobs, set(accept or ()), refused)
    name = finished.run.absolute().parent.parent.name
    describe_derivatives(out, f"{name} by braindino", finished.run, finished.facts["encoder"]["spec"])
    rows, failed = _predict(
        finished, cases, keys, warnings, prepared, out, plain_label(name), target, batch_size
    )
    refused += failed
    write_table(out / "predictions.csv", rows, ["case", "scans"])
    write_table(out / "rejects.csv", [asdict(each) for each in refused], ["case", "path", "check", "reason"])
    _tell(rows, refused, out, finished.told)
    return 1 if refused else 0


def _open_store(probe: "FinishedProbe", path: Path, strip_cmd: str | None) -> "Store":
    from braindino.scans.skull_stripping import check_strip_cmd, show_command, strip_cmd_option
    from braindino.scans.store.store import Store

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


def _admit(
    probe: "FinishedProbe",
    cases: "dict[str, dict[str, NewScan]]",
    store: "Store",
    jobs: int,
    accept: set[str],
    refused: "list[Refused]",
) -> tuple[dict[str, dict[str, str]], dict[str, list[str]]]:
    """Keys of the scans of every case that may be predicted, and its warnings; the others join `refused`."""
    import pandas as pd

    from braindino.files import read_json
    from braindino.probing.predict.checks import TRAINING_SCANS, Reference, check_scan
    from braindino.probing.predict.inputs import Refused, choose_scans
    from braindino.probing.predict.seen_scans import known_scans
    from braindino.scans.statistics import measure
    from braindino.scans.store.fill import fill

    training: dict[str, Reference] = read_json(probe.run / TRAINING_SCANS, dict[str, Reference])
    if absent := [name for name in probe.modalities if name not in training]:
        raise BraindinoError(f"{probe.run / TRAINING_SCANS}: key {absent[0]!r} is missing.")
    may_miss = [name for name in probe.modalities if training[name]["missing"] > 0]
    chosen = {name: choose_scans(name, scans, probe.modalities, may_miss) for name, scans in cases.items()}
    wanted = [
        {"path": scan.path, "modality": modality, "subject": name}
        for name, (taken, _) in chosen.items()
        for modality, scan in taken.items()
    ]
    fill(store, pd.DataFrame(wanted, columns=["path", "modality", "subject"]), jobs=jobs)
    store.refresh()
    reasons = dict(store.rejects()[["path", "reason"]].itertuples(index=False, name=None))
    native = probe.encoder.preprocessing.orientation == "native"
    keys: dict[str, dict[str, str]] = {}
    warnings: dict[str, list[str]] = {}
    for name, (taken, findings) in chosen.items():
        said: list[tuple[str, Finding]] = [
            ("; ".join(str(s.source) for s in cases[name].values()), f) for f in findings
        ]
        broken = False
        for modality, scan in taken.items():
            key = store.key_of(scan.path)
            if key is None:
                reason = reasons.get(str(scan.path.absolute()), "not in the store")
                refused.append(Refused(name, str(scan.source), "readable", reason))
                broken = True
                continue
            keys.setdefault(name, {})[modality] = key
            found = check_scan(measure(store, key), training[modality], native)
            said += [(str(scan.source), finding) for finding in found]
        grave = [(path, each) for path, each in said if each.refused and each.check not in accept]
        refused += [Refused(name, path, each.check, each.told) for path, each in grave]
        if broken or grave or name not in keys:
            keys.pop(name, None)
        else:
            warnings[name] = [f"{each.check}: {each.told}" for _, each in said]
    known = known_scans(probe, store, [key for scans in keys.values() for key in scans.values()])
    for name, scans in keys.items():
        warnings[name] += [f"seen: {known[key]}" for key in dict.fromkeys(scans.values()) if key in known]
    return keys, warnings


def _predict(
    probe: "FinishedProbe",
    cases: "dict[str, dict[str, NewScan]]",
    keys: dict[str, dict[str, str]],
    warnings: dict[str, list[str]],
    store: "Store",
    out: Path,
    desc: str,
    device: Any,
    batch_size: int,
) -> "tuple[list[dict[str, Any]], list[Refused]]":
    """Rows of predictions.csv, and what came to nothing; survival curves and masks are written on the way."""
    import numpy as np
    import pandas as pd

    from braindino.probing.predict.inputs import Refused
    from braindino.probing.predict.outputs import write_masks, write_table
    from braindino.probing.predict.predictor import predict_cases
    from braindino.progress import track

    rows, curves, failed = [], [], []
    answers = predict_cases(probe, keys, store, device, batch_size, progress=True)
    for name, answer in track(answers, len(keys), "predict", unit="case"):
        if isinstance(answer, Refused):
            failed.append(answer)
            continue
        sources = ";".join(
            str(cases[name][modality].source) for modality in keys[name] if modality in cases[name]
        )
        files: list[str] = []
        if answer.masks:
            geometry = store.geometry(next(key for m in probe.modalities if (key := keys[name].get(m))))
            exclusive = bool(getattr(next(iter(probe.modules.values())).head, "exclusive", True))
            written = write_masks(out, name, desc, answer.masks, np.asarray(geometry.affine), exclusive)
            files = [file.relative_to(out).as_posix() for file in written]
        if answer.curve is not None:
            curves.append(answer.curve.assign(case=name)[["case", "time", "survival"]])
        row = {"case": name, "scans": sources or ";".join(str(s.source) for s in cases[name].values())}
        row |= answer.columns | ({"mask": ";".join(files)} if files else {})
        rows.append({**row, "warnings": "; ".join(warnings[name])})
    if curves:
        table = pd.concat(curves)
        write_table(out / "survival.csv", table.to_dict("records"), ["case", "time", "survival"])  # type: ignore[arg-type]
    return rows, failed


def _tell(rows: list[dict[str, Any]], refused: "list[Refused]", out: Path, by: str) -> None:
    print(f"{out / 'predictions.csv'}: {len(rows)} cases{f', {by}' * bool(by)}")
    warned = [f"  {row['case']}: {row['warnings']}" for row in rows if row["warnings"]]
    lines = [f"  {each.case}: {each.check}: {each.reason}" for each in refused]
    for title, some in (
        (f"{len(warned)} with warnings", warned),
        (f"{len(lines)} refusal{'s' * (len(lines) > 1)}, in {out / 'rejects.csv'}", lines),
    ):
        if some:
            print(
                "\n".join(
                    [
                        f"{title}:",
                        *some[:SHOWN],
                        *([f"  ... and {len(some) - SHOWN} more"] * (len(some) > SHOWN)),
                    ]
                )
            )
