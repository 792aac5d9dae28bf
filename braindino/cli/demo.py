"""The verb `demo`: the whole path on a synthetic cohort, by the usual commands."""

import shlex
import time
from pathlib import Path

from braindino.cli.main import main


def demo(out: Path = Path("demo"), people: int = 90, jobs: int = 2) -> int:
    """Run the whole path on a synthetic cohort: scans, store, pretraining, export, probe.

    Every step prints its command. A second run reuses the results of the first.

    Args:
        out: folder to write to.
        people: number of synthetic people.
        jobs: processes that prepare scans.
    """
    started = time.monotonic()
    for command in steps(out, people, jobs):
        print(f"\n$ braindino {shlex.join(command)}", flush=True)
        if command[0] == "synth" and Path(command[1]).exists():
            print(f"{command[1]} exists already")
            continue
        if code := main(command):
            return code
    print(f"\nAll steps took {time.monotonic() - started:.0f} s. Results in {out}/:")
    for path, what in MADE.items():
        print(f"  {path:<22} {what}")
    return 0


def steps(out: Path, people: int, jobs: int) -> list[list[str]]:
    """Return the commands in order; slices of 64 x 64 train in a minute on two CPU cores."""
    scans, manifest, store, runs = (str(out / name) for name in ("ADNI", "adni.csv", "store", "runs"))
    encoder = str(out / "encoder")
    return [
        ["synth", scans, "--dataset", "adni", "--people", str(people)],
        ["index", scans, "--dataset", "adni", "--out", manifest],
        ["prepare", manifest, "--store", store, "--jobs", str(jobs), "--depth", "32", "--size", "64"],
        [
            *("fit", "--config", "pretrain_tiny.yaml", "--data.store", store),
            *("--run.root", runs, "--run.id", "demo"),
        ],
        ["export", f"{runs}/pretrain/demo", "--out", encoder],
        [
            *("probe", "--config", "adni_cls.yaml", "--data.root", scans, "--data.store", store),
            *("--model.encoder", encoder, "--run.root", runs),
        ],
    ]


MADE = {
    "ADNI/": "the cohort: small NIfTI volumes and ADNIMERGE.csv in ADNI's own layout",
    "adni.csv": "the manifest, one row per scan (adni.dropped.csv: excluded files and reasons)",
    "store/": "the prepared scans, memory-mapped",
    "runs/pretrain/demo/": "config, metrics.csv and checkpoints of the pretraining",
    "encoder/": "the frozen encoder: safetensors, contract, model card",
    "runs/adni_cls/": "predictions.csv, results.json and config of the probe",
}
