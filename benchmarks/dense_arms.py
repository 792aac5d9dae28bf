"""Train the arms of a segmentation benchmark on the same slices, and write the table of them.

An arm is a decoder on a frozen encoder (`detail`), the same decoder on the same network with random
weights, other ones for each seed (`detail-twin`), the same decoder with all tokens set to zero
(`detail-no-tokens`), or a U-Net without an encoder (`unet`). All arms have the same split, labelled people,
coordinates, loss, augmentation, number of steps and choice of the epoch. The number of steps is that of
`--steps` at every label fraction, because an epoch of three people is tiny: fewer cases draw more slices per
epoch.

A cell is one arm at one label fraction with one seed (and fold). A call trains the cells that are neither
finished nor being trained by another process, so that the same command may run several times at once, or with
parts of `--arms`; an interrupted cell continues. The last process writes the table, and so does `--report`.
Used by hippocampus.py, soop_lesion.py, open_lesions.py and dense_search.py.
"""

import argparse
import fcntl
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from lightning.pytorch import Trainer

from braindino.analysis.metrics.estimates import compare_estimates, estimate
from braindino.analysis.metrics.segmentation import regions_of
from braindino.analysis.predictions import read_predictions
from braindino.datasets import Cohort
from braindino.datasets.splits import nested_fraction
from braindino.encoders.base import Encoder
from braindino.encoders.vit import ViTEncoder
from braindino.errors import BraindinoError
from braindino.files import atomic_write, read_json, write_json
from braindino.probing import FrozenProbeModule, Protocol, SegmentationHead, run_study
from braindino.probing.augmentation import Augmentation
from braindino.probing.decoders.registry import DECODERS

BATCH = 16  # slices per step, the default of the head
RESAMPLES = 2000
UNET, TWIN, NO_TOKENS = "unet", "twin", "no-tokens"
CONTROLS = {TWIN: "random twin", NO_TOKENS: "no tokens", "": "frozen encoder"}
SUPERVISED_DEEPLY = ("conv", "detail")
AUGMENTATIONS: dict[str, Augmentation | bool] = {
    "none": False,
    "flips": Augmentation(shift=0, scale=0, offset=0),
    "full": True,
}
# Metric, its title, unit and digits; a table shows those that were measured.
SHOWN = (("dice", "Dice", "", 3), ("nsd", "NSD", "", 3), ("hd95", "HD95", ", mm", 2))
FURTHER = (
    ("lesion_f1", "lesion-wise F1", 3),
    ("case_specificity", "empty cases that stay empty", 3),
    ("false_positive_ml", "false positives in empty cases, ml", 3),
)


@dataclass(frozen=True)
class Arm:
    """A decoder and what its tokens are.

    Attributes:
        decoder: name of the decoder.
        control: "" (tokens of the encoder), `TWIN` or `NO_TOKENS`.
    """

    decoder: str
    control: str = ""

    @property
    def name(self) -> str:
        return "-".join(filter(None, (self.decoder, self.control)))

    @property
    def title(self) -> str:
        return "U-Net, supervised" if self.decoder == UNET else f"{self.decoder}, {CONTROLS[self.control]}"


@dataclass(frozen=True)
class Settings:
    """What all arms of a work folder have in common; see the options of the command.

    Attributes:
        steps: steps of a cell, divided evenly among `epochs`.
        epochs: validations, of which the best one chooses the weights.
        neighbours: slices on each side that are decoded together.
        image_size: longer side of the enlarged slices; None for the default of the head.
        augment: a key of `AUGMENTATIONS`.
        foreground: share of slices drawn from those with a region.
        lr: learning rate; None for that of the decoder.
        deep_supervision: compute the loss on coarser maps too, where the decoder has them.
        test_flips: average the predictions of a slice and its mirror image.
        folds: folds of the cross-validation; None for one split.
    """

    steps: int = 480
    epochs: int = 8
    neighbours: int = 0
    image_size: int | None = None
    augment: str = "none"
    foreground: float = 0.33
    lr: float | None = None
    deep_supervision: bool = False
    test_flips: bool = False
    folds: int | None = None

    def head(self, arm: Arm, cases: int, kind: type[SegmentationHead] = SegmentationHead) -> SegmentationHead:
        """Return the head of an arm; an epoch of `cases` cases has the steps of one epoch, rounded up."""
        return kind(
            slices_per_case=math.ceil(self.steps / self.epochs * BATCH / cases),
            foreground=self.foreground,
            decoder=arm.decoder,  # type: ignore[arg-type]
            image_size=None if arm.decoder == UNET else self.image_size,
            neighbours=self.neighbours,
            test_flips=self.test_flips,
            deep_supervision=self.deep_supervision and arm.decoder in SUPERVISED_DEEPLY,
            use_tokens=arm.control != NO_TOKENS,
        )


@dataclass(frozen=True)
class ArmCell:
    """One arm at one label fraction with one seed, and with folds one fold.

    Attributes:
        work: work folder of the benchmark.
        arm: the arm.
        fraction: label fraction.
        seed: seed of initialisation, batches, labelled people, and of the random twin.
        fold: the fold that is tested; None without folds.
    """

    work: Path
    arm: Arm
    fraction: float
    seed: int
    fold: int | None

    @property
    def folder(self) -> Path:
        fold = "" if self.fold is None else f"_fold{self.fold}"
        return self.work / "studies" / self.arm.name / f"fraction{self.fraction:g}_seed{self.seed}{fold}"

    @property
    def label(self) -> str:
        fold = "" if self.fold is None else f", fold {self.fold}"
        return f"{self.arm.name}, {self.fraction:.0%}, seed {self.seed}{fold}"

    @property
    def done(self) -> bool:
        return (self.folder / "seconds.json").is_file()

    def test_rows(self) -> pd.DataFrame:
        """Return the predictions of the test part."""
        table = read_predictions(self.folder / "predictions.csv")
        return table[table["split"] == "test"]


@dataclass(frozen=True)
class Benchmark:
    """A data set and an encoder for it.

    Attributes:
        work: work folder.
        settings: what all arms have in common.
        data: returns the labelled cases of a fold; None without folds.
        encoder: returns the encoder of a fold; None without folds.
        head: class of the head.
    """

    work: Path
    settings: Settings
    data: Callable[[int | None], Cohort]
    encoder: Callable[[int | None], Encoder]
    head: type[SegmentationHead] = SegmentationHead

    @property
    def folds(self) -> list[int | None]:
        return [None] if self.settings.folds is None else list(range(self.settings.folds))

    def cells(self, arms: Sequence[Arm], fractions: Sequence[float], seeds: Sequence[int]) -> list[ArmCell]:
        """Return all cells, by fraction, seed, fold and arm."""
        return [
            ArmCell(self.work, arm, fraction, seed, fold)
            for fraction in fractions
            for seed in seeds
            for fold in self.folds
            for arm in arms
        ]

    def check_settings(self, **further: Any) -> None:
        """Record the settings in the work folder; raise BraindinoError if it was made with others."""
        file, now = self.work / "settings.json", {**asdict(self.settings), **further}
        if not file.is_file():
            write_json(file, now)
            return
        before = read_json(file, dict[str, Any])
        if changed := [name for name in now if before.get(name) != now[name]]:
            name = changed[0]
            raise BraindinoError(
                f"{file}: {name} is {before.get(name)}, now {now[name]}.\n"
                "Choose another --work, or remove this one."
            )

    def train(self, cell: ArmCell) -> None:
        """Train a cell and record its seconds."""
        data, encoder = self.data(cell.fold), self.encoder(cell.fold)
        if cell.arm.control == TWIN:
            twin = encoder.untrained(cell.seed)
            assert twin is not None
            encoder = twin
        data.use_contract(encoder.preprocessing)
        data.prepare_data()
        data.setup()
        train = data.cases[data.cases["split"] == "train"]
        cases = len(nested_fraction(train, cell.fraction, cell.seed))
        module = FrozenProbeModule(
            cell.arm.title,
            self.settings.head(cell.arm, cases, self.head),
            lr=self.settings.lr,
            augment=AUGMENTATIONS[self.settings.augment],
        )
        epochs = self.settings.epochs
        # Every arm makes all steps: the patience is never exceeded.
        protocol = Protocol(
            [cell.seed], [cell.fraction], max_epochs=epochs, patience=epochs, resamples=0, baselines=False
        )
        started = time.process_time()
        results = run_study(module, data, protocol, trainer, cell.folder, encoder, progress=True)
        audit = {name: value for name, value in results["audit"].items() if not isinstance(value, list)}
        spent = time.process_time() - started
        write_json(cell.folder / "seconds.json", {"cpu_seconds": round(spent, 1), "audit": audit})

    def run(self, cells: Sequence[ArmCell]) -> None:
        """Train the cells that are neither finished nor being trained by another process."""
        started, trained = time.monotonic(), 0
        for number, cell in enumerate(cells, start=1):
            cell.folder.mkdir(parents=True, exist_ok=True)
            with file_lock(cell.folder / "cell.lock", wait=False) as locked:
                if cell.done or not locked:
                    continue
                print(f"[{number}/{len(cells)}] {cell.label}", flush=True)
                self.train(cell)
            trained += 1
            minutes = (time.monotonic() - started) / 60
            unfinished = sum(not each.done for each in cells)
            print(
                f"  Dice {cell.test_rows()['dice'].mean():.3f}; {minutes / trained:.1f} min per cell, about "
                f"{minutes / trained * unfinished:.0f} min for the other {unfinished} by one process",
                flush=True,
            )


def trainer(**overrides: Any) -> Trainer:
    """Return a trainer on the CPU."""
    return Trainer(accelerator="cpu", devices=1, **overrides)


@contextmanager
def file_lock(file: Path, wait: bool) -> Iterator[bool]:
    """Lock a file while the block runs; yield False if another process has it and `wait` is False."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True


def resized(encoder: Encoder, **contract: Any) -> Encoder:
    """Return the same network with another size or spacing of the slices."""
    assert isinstance(encoder, ViTEncoder)
    made = ViTEncoder(
        encoder.model,
        replace(encoder.preprocessing, **contract),
        encoder.architecture,
        encoder.model_args,
    )
    made.seen = encoder.seen
    return made


def arms_of(decoders: Sequence[str]) -> list[Arm]:
    """Return every decoder with its controls, and the U-Net."""
    return [Arm(name, control) for name in decoders for control in ("", TWIN, NO_TOKENS)] + [Arm(UNET)]


def options_of(description: str | None, out: Path, **defaults: Any) -> argparse.ArgumentParser:
    """Return a parser of the options that all benchmarks have.

    Args:
        description: text of `--help`.
        out: default of `--out`.
        **defaults: defaults of other options.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder of the studies, continued")
    parser.add_argument("--encoder", default="recipes/open_mri/braindino-s")
    parser.add_argument(
        "--decoders", nargs="+", default=["conv", "detail"], choices=sorted(set(DECODERS) - {UNET})
    )
    parser.add_argument("--arms", nargs="+", help="train only these, such as detail-twin unet")
    parser.add_argument("--fractions", type=float, nargs="+", default=[1.0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=480, help="of every cell")
    parser.add_argument("--epochs", type=int, default=8, help="validations in these steps")
    parser.add_argument("--neighbours", type=int, default=0)
    parser.add_argument("--image-size", type=int, help="longer side of the enlarged slices")
    parser.add_argument("--augment", default="none", choices=AUGMENTATIONS)
    parser.add_argument("--foreground", type=float, default=0.33)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--deep-supervision", action="store_true")
    parser.add_argument("--test-flips", action="store_true")
    parser.add_argument("--report", action="store_true", help="write the table of the finished cells only")
    parser.add_argument("--out", type=Path, default=out)
    parser.set_defaults(**defaults)
    return parser


def settings_of(options: argparse.Namespace) -> Settings:
    """Return the settings that the options of the command give."""
    names = [name for name in asdict(Settings()) if hasattr(options, name)]
    return Settings(**{name: getattr(options, name) for name in names})


def chosen_arms(options: argparse.Namespace) -> list[Arm]:
    """Return the arms to train, by `--arms`; raise BraindinoError for an unknown one."""
    arms = {arm.name: arm for arm in arms_of(options.decoders)}
    if unknown := set(options.arms or ()) - set(arms):
        raise BraindinoError(f"--arms {sorted(unknown)[0]}: expected some of {', '.join(arms)}.")
    return [arms[name] for name in options.arms or arms]


def run_benchmark(
    benchmark: Benchmark, options: argparse.Namespace, title: str, notes: Callable[[], list[str]]
) -> None:
    """Train the chosen arms, and write the table when all cells of all arms are finished.

    Args:
        benchmark: data and encoder.
        options: options of the command.
        title: heading of the page.
        notes: returns paragraphs about the data.
    """
    torch.set_num_threads(1)
    cells = benchmark.cells(arms_of(options.decoders), options.fractions, options.seeds)
    if not options.report:
        arms = chosen_arms(options)
        benchmark.check_settings(encoder=str(options.encoder))
        benchmark.run([cell for cell in cells if cell.arm in arms])
    unfinished = sum(not cell.done for cell in cells)
    if unfinished and not options.report:
        print(f"{unfinished} of {len(cells)} cells are not finished; no table was written.")
        return
    write_page(page_of(cells, title, [*notes(), *cost_notes(cells, benchmark.settings)]), options.out)


def write_page(page: Sequence[str], file: Path) -> None:
    """Write lines of Markdown, and print them."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as out:
        out.write("\n".join(page) + "\n")
    print(*page, sep="\n")


def command_of() -> str:
    """Return the command that runs, without the folders of this machine."""
    arguments = ["DATA", *sys.argv[2:]]
    for option in ("--out", "--work"):
        if option in arguments:
            place = arguments.index(option)
            arguments = arguments[:place] + arguments[place + 2 :]
    shown = [each for each in arguments if each != "--report"]
    return f"python benchmarks/{Path(sys.argv[0]).name} {' '.join(shown)} --work WORK"


def cost_notes(cells: Sequence[ArmCell], settings: Settings) -> list[str]:
    """Return the settings, and the time per cell of each arm."""
    options = ", ".join(f"{name} {value}" for name, value in asdict(settings).items() if value is not None)
    seconds: dict[str, list[float]] = {}
    for cell in cells:
        if cell.done:
            spent = json.loads((cell.folder / "seconds.json").read_text())["cpu_seconds"]
            seconds.setdefault(cell.arm.name, []).append(spent)
    times = ", ".join(f"{name} {sum(each) / len(each):.0f}" for name, each in seconds.items())
    return [
        f"`{command_of()}` on {date.today()}, one thread per process of a CPU of {os.cpu_count()} cores.",
        f"Settings of all arms: {options}; {BATCH} slices per step. CPU seconds per cell: {times}.",
    ]


def page_of(cells: Sequence[ArmCell], title: str, notes: Sequence[str]) -> list[str]:
    """Return the page: both tables, of the arms of which all cells at a fraction are finished."""
    tables: dict[float, dict[Arm, list[pd.DataFrame]]] = {}
    unfinished = []
    for fraction in dict.fromkeys(cell.fraction for cell in cells):
        for arm in dict.fromkeys(cell.arm for cell in cells):
            members = [cell for cell in cells if (cell.arm, cell.fraction) == (arm, fraction)]
            if all(cell.done for cell in members):
                tables.setdefault(fraction, {})[arm] = tables_by_seed(members)
            else:
                done = sum(cell.done for cell in members)
                unfinished.append(f"{arm.name} at {fraction:.0%} ({done} of {len(members)} cells)")
    if not tables:
        raise BraindinoError("no arm has all cells of a label fraction; train first, without --report.")
    missing = [f"Not finished: {', '.join(unfinished)}.", ""] if unfinished else []
    paragraphs = [line for note in notes for line in (note, "")]
    return [
        f"# {title}", "", *paragraphs, *missing,
        "Mean over seeds [95 % interval from resampling people] sd over seeds; in the scans' native space.",
        "", *means_table(tables), "",
        "Paired differences on the same people: mean over seeds [95 % interval from resampling people].",
        "", *differences_table(tables),
    ]  # fmt: skip


def tables_by_seed(cells: Sequence[ArmCell]) -> list[pd.DataFrame]:
    """Return the test rows of each seed, of all folds together."""
    seeds = dict.fromkeys(cell.seed for cell in cells)
    return [
        pd.concat([cell.test_rows() for cell in cells if cell.seed == seed], ignore_index=True)
        for seed in seeds
    ]


def columns_of(metrics: dict[str, Any], regions: Sequence[str]) -> list[tuple[str, str, int]]:
    """Return name, title and digits of the metrics that a table shows, if they were measured.

    Single lesions and empty cases are shown of a single region.
    """
    columns = [
        (f"{name}_{region}", f"{title} {region}{unit}", digits)
        for name, title, unit, digits in SHOWN
        for region in regions
    ]
    columns += FURTHER if len(regions) == 1 else ()
    return [each for each in columns if each[0] in metrics and metrics[each[0]]["value"] is not None]


def formatted(numbers: dict[str, Any], digits: int, sign: str = "") -> str:
    """Return a value with its interval and deviation; "-" if it is undefined."""
    value, low, high, sd = (
        "-" if numbers[key] is None else f"{numbers[key]:{sign if key != 'sd' else ''}.{digits}f}"
        for key in ("value", "low", "high", "sd")
    )
    return "-" if value == "-" else f"{value} [{low}, {high}]" + ("" if sign or sd == "-" else f" sd {sd}")


def means_table(tables: dict[float, dict[Arm, list[pd.DataFrame]]]) -> list[str]:
    """Return the table of the arms by label fraction."""
    rows: list[str] = []
    for fraction, arms in tables.items():
        for arm, seeds in arms.items():
            metrics = estimate(seeds, RESAMPLES)["metrics"]
            columns = columns_of(metrics, regions_of(seeds[0]))
            rows = rows or table_head(["labels", "model", *(title for _, title, _ in columns)])
            values = [formatted(metrics[name], digits) for name, _, digits in columns]
            rows.append(f"| {' | '.join([f'{fraction:.0%}', arm.title, *values])} |")
    return rows


def differences_table(tables: dict[float, dict[Arm, list[pd.DataFrame]]]) -> list[str]:
    """Return each decoder minus the U-Net and minus its controls."""
    rows: list[str] = []
    for fraction, arms in tables.items():
        for arm in (arm for arm in arms if not arm.control and arm.decoder != UNET):
            for other in (Arm(UNET), Arm(arm.decoder, TWIN), Arm(arm.decoder, NO_TOKENS)):
                if other not in arms:
                    continue
                metrics = compare_estimates(arms[arm], arms[other], RESAMPLES)
                names = [("dice", "Dice, mean of regions", 3)]
                columns = names + columns_of(metrics, regions_of(arms[arm][0]))
                rows = rows or table_head(["labels", "difference", *(title for _, title, _ in columns)])
                values = [formatted(metrics[name], digits, "+") for name, _, digits in columns]
                against = other.title if other.decoder == UNET else CONTROLS[other.control]
                rows.append(f"| {fraction:.0%} | {arm.decoder} minus {against} | {' | '.join(values)} |")
    return rows


def table_head(titles: Sequence[str]) -> list[str]:
    """Return the first two lines of a table."""
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
