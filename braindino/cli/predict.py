"""The verb `predict`: predict new scans with a finished probe."""

from collections.abc import Sequence
from pathlib import Path

from braindino.verbs.opening import Device

SHOWN = 10  # lines of rejections and warnings


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
    """Predict new scans with a finished probe; write predictions.csv, and masks as NIfTI.

    A class has its probabilities; a number, of several seeds, its deviation over them; a risk its survival
    curve in survival.csv; a segmentation its mask in the native space of the scan, named as in BIDS
    derivatives. Scans that differ from those of training are refused (rejects.csv) or get a warning (column
    `warnings`), with the name of the check: readable, modality, orientation, stripped, spacing, shape,
    foreground, intensity; finite, if features or predictions are not finite; seen, for a scan that the probe
    or its encoder was trained on. The same command again goes on where it was interrupted.

    Args:
        scans: NIfTI files, folders of them or of DICOM series, or manifests (several modalities per case).
        probe: run folder of `braindino probe`.
        out: folder to write into.
        encoder: present place of the probe's encoder, if it has moved.
        seed: seed of one probe; by default all seeds are averaged. In a cross-validation the probes of all
            folds are averaged in any case.
        fraction: label fraction that it was trained on; by default the largest there is.
        accept: checks whose refusals become warnings: modality, orientation, stripped; once or several times.
        strip_cmd: skull-stripping command, such as `hd-bet -i {in} -o {out}`. If the training scans went
            through one, repeat it, or give `none` for scans that are stripped already: a command that only
            the probe names is not run.
        trust_class: class of a head or pooling of your own, such as `my_heads.Mine`, that the probe may name;
            once or several times. One that only the probe names is not imported.
        store: folder of prepared scans; if omitted, `store` in the output folder, made there.
        jobs: processes that prepare scans.
        batch_size: slices that go through the encoder at once.
        device: device that the encoder runs on.
        prepare: make the store that --store names, also where others lie near by.

    Returns:
        0, or 1 when a case was refused: the others are predicted.
    """
    from braindino.verbs.predict import predict as run

    result = run(
        scans,
        probe,
        out,
        encoder=encoder,
        seed=seed,
        fraction=fraction,
        accept=accept or (),
        strip_cmd=strip_cmd,
        trust_class=trust_class or (),
        store=store,
        jobs=jobs,
        batch_size=batch_size,
        device=device,
        prepare=prepare,
    )
    label = f", {result.probe.label}" if result.probe.label else ""
    print(f"{out / 'predictions.csv'}: {len(result.table)} cases{label}")
    rows = result.table.to_dict("records")
    _print_list("{} with warnings:", [f"{row['case']}: {row['warnings']}" for row in rows if row["warnings"]])
    rejected = result.rejections
    noun = "refusals" if len(rejected) > 1 else "refusal"
    lines = [f"{each.case}: {each.check}: {each.reason}" for each in rejected]
    _print_list(f"{{}} {noun}, in {out / 'rejects.csv'}:", lines)
    return 1 if rejected else 0


def _print_list(title: str, lines: Sequence[str]) -> None:
    """Print a title with the number of lines, and the first of them; nothing without lines."""
    if not lines:
        return
    print(title.format(len(lines)))
    for line in lines[:SHOWN]:
        print(f"  {line}")
    if len(lines) > SHOWN:
        print(f"  ... and {len(lines) - SHOWN} more")
