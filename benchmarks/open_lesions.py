"""Segment tumours and MS lesions of two small open sets, with the arms of dense_arms.py.

`tumour`: Brain-Tumor-Progression, T1 with gadolinium, two visits of 11 people. The four people of
recipes/open_mri/held_out.txt are for test; of the other seven, whose scans (without labels) were part of the
pretraining of that recipe's encoders, two are for validation and five for training. The spacing in the
headers is not true (1 mm; the slices are thick), so that HD95 and NSD are in pixels and slices.

`ms`: FLAIR and lesion masks of three people of the open MS data. Each is tested once, with one other person
for validation and one for training: a demonstration, no estimate. Only one of the three was held out from
that pretraining; the page lists how many test people the encoder has seen.

    python benchmarks/open_lesions.py ../shared/data/corpus --set tumour --work tumour_work
    python benchmarks/open_lesions.py ../shared/data/corpus --set ms --work ms_work

Writes `benchmarks/results/open_lesions_tumour.md` or `open_lesions_ms.md`. The same command continues an
interrupted run, and may run several times at once.
"""

import argparse
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import nibabel as nib
import pandas as pd
from dense_arms import Benchmark, resized
from dense_report import options_of, run_benchmark, settings_of
from nibabel.processing import resample_from_to
from soop_lesion import HELD_OUT, people_of

from braindino.datasets import Cohort
from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import load_encoder
from braindino.files import atomic_write

RESULTS = Path(__file__).parent / "results"
TITLES = {"tumour": "Tumours of Brain-Tumor-Progression", "ms": "MS lesions of the open MS data"}
VALIDATION = ("08", "10")  # of the people of `tumour`
MS_PEOPLE = 3


def on_grid_of(scan: Path, mask: Path, file: Path) -> Path:
    """Write the mask on the voxels of the scan, by the nearest neighbour; return the file."""
    if not file.is_file():
        image = resample_from_to(nib.load(mask), nib.load(scan), order=0)
        image.set_data_dtype("uint8")
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"partial_{file.name}")
        nib.save(image, partial)
        partial.replace(file)
    return file


def tumours(data: Path, work: Path, fold: int | None) -> Cohort:
    """Return both visits of all people as a cohort."""
    held_out, rows, parts = people_of(HELD_OUT), [], {}
    for folder in sorted((data / "tumour_progression").iterdir()):
        person = folder.name
        rest = "val" if person in VALIDATION else "train"
        parts[person] = "test" if f"tumour_progression:{person}" in held_out else rest
        for visit in ("Pre", "Post"):
            scan = (folder / f"{visit}_Scan_T1.nii.gz").resolve()
            mask = on_grid_of(
                scan, folder / f"{visit}_Mask.nii.gz", work / "masks" / f"{person}_{visit}.nii.gz"
            )
            rows.append((person, visit.lower(), scan, mask.resolve()))
    write(work / "scans.csv", pd.DataFrame(rows, columns=["id", "session", "t1", "mask"]))
    split = [(f"tumour_progression:{person}", part) for person, part in parts.items()]
    write(work / "split.csv", pd.DataFrame(split, columns=["group", "split"]))
    return Cohort(
        work / "scans.csv", work / "store", task="segmentation", regions={"tumour": [1]},
        path={"T1c": "t1", "mask": "mask"}, dataset="tumour_progression", split_file=work / "split.csv",
        prepare=True,
    )  # fmt: skip


def lesions(data: Path, work: Path, fold: int | None) -> Cohort:
    """Return the three people with lesion masks as a cohort of three folds."""
    rows = []
    for folder in sorted((data / "open_ms").glob("mni_*")):
        scan = (folder / f"{folder.name}_FLAIR.nii.gz").resolve()
        mask = folder / f"{folder.name}_lesions.nii.gz"
        rows.append((folder.name, scan, on_grid_of(scan, mask, work / "masks" / mask.name).resolve()))
    write(work / "scans.csv", pd.DataFrame(rows, columns=["id", "flair", "mask"]))
    return Cohort(
        work / "scans.csv", work / "store", task="segmentation", regions={"lesion": [1]},
        path={"FLAIR": "flair", "mask": "mask"}, dataset="open_ms", folds=MS_PEOPLE, fold=fold, prepare=True,
    )  # fmt: skip


def write(file: Path, table: pd.DataFrame) -> None:
    """Write a table as CSV, as a whole or not at all."""
    with atomic_write(file) as out:
        out.write(table.to_csv(index=False))


SETS: dict[str, Callable[[Path, Path, int | None], Cohort]] = {"tumour": tumours, "ms": lesions}


def notes_of(options: argparse.Namespace, benchmark: Benchmark) -> list[str]:
    """Return a paragraph about people, and the overlap with the pretraining of the encoder."""
    data = benchmark.data(benchmark.folds[0])
    data.prepare_data()
    data.setup()
    counts = data.cases.groupby("split")["group"].nunique()
    parts = ", ".join(f"{count} {part}" for part, count in counts.items())
    each = "; each fold tests one person" if options.folds else ""
    seen = set()
    for file in benchmark.work.glob("studies/*/*/seconds.json"):
        if "twin" not in file.parent.parent.name:
            fold = file.parent.name.partition("_fold")[2]
            seen.add((fold, json.loads(file.read_text())["audit"].get("pretraining", {}).get("test", 0)))
    overlap = sum(number for _, number in seen)
    return [
        f"People: {parts}{each}. Encoder: `{options.encoder}`; it was pretrained on (unlabelled) scans of "
        f"{overlap} of the test people."
    ]


def main() -> None:
    parser = options_of(__doc__, RESULTS)
    parser.add_argument("--set", choices=SETS, required=True)
    options = parser.parse_args()
    options.folds = MS_PEOPLE if options.set == "ms" else None
    if options.out == RESULTS:
        options.out = RESULTS / f"open_lesions_{options.set}.md"
    options.work.mkdir(parents=True, exist_ok=True)

    @cache
    def encoder(fold: int | None) -> Encoder:
        return resized(load_encoder(options.encoder))

    benchmark = Benchmark(
        options.work,
        settings_of(options),
        lambda fold: SETS[options.set](options.data, options.work, fold),
        encoder,
    )
    run_benchmark(benchmark, options, TITLES[options.set], lambda: notes_of(options, benchmark))


if __name__ == "__main__":
    main()
