"""The command line and the page of a segmentation benchmark; see dense_arms.py.

A call trains cells, and writes the page when all cells of all arms are finished; `--report` only writes it,
with the arms of which all cells at a label fraction are finished.
"""

import argparse
import json
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any, get_args

import pandas as pd
import torch
from dense_arms import (
    AUGMENTATIONS,
    BATCH,
    CONTROLS,
    NO_TOKENS,
    TWIN,
    UNET,
    Arm,
    ArmCell,
    Benchmark,
    Settings,
    arms_of,
)

from braindino.analysis.metrics.estimates import compare_estimates, estimate
from braindino.analysis.metrics.segmentation import regions_of
from braindino.errors import BraindinoError
from braindino.files import atomic_write
from braindino.probing.decoders.registry import DECODERS
from braindino.probing.heads.mask_losses import Criterion

RESAMPLES = 2000
# Options of the work folder besides the settings.
RECORDED = ("encoder", "spacing", "pretrain_steps", "set")
# Metric, its title, unit and digits; a table shows those that were measured.
SHOWN = (("dice", "Dice", "", 3), ("nsd", "NSD", "", 3), ("hd95", "HD95", ", mm", 2))
FURTHER = (
    ("lesion_f1", "lesion-wise F1", 3),
    ("case_specificity", "empty cases that stay empty", 3),
    ("false_positive_ml", "false positives in empty cases, ml", 3),
)


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
    parser.add_argument("--hard-empty", type=float, default=0.0)
    parser.add_argument("--criterion", default="dice_ce", choices=get_args(Criterion))
    parser.add_argument("--ema", type=float, default=0.0)
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
    # With --report too, so that the page names the settings of the cells.
    benchmark.check_settings(**{name: getattr(options, name) for name in RECORDED if hasattr(options, name)})
    if not options.report:
        arms = chosen_arms(options)
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
    return f"python benchmarks/{Path(sys.argv[0]).name} {shlex.join(shown)} --work WORK"


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
                regions = regions_of(arms[arm][0])
                mean = [("dice", "Dice, mean of regions", 3)] if len(regions) > 1 else []
                columns = mean + columns_of(metrics, regions)
                rows = rows or table_head(["labels", "difference", *(title for _, title, _ in columns)])
                values = [formatted(metrics[name], digits, "+") for name, _, digits in columns]
                against = other.title if other.decoder == UNET else CONTROLS[other.control]
                rows.append(f"| {fraction:.0%} | {arm.decoder} minus {against} | {' | '.join(values)} |")
    return rows


def table_head(titles: Sequence[str]) -> list[str]:
    """Return the first two lines of a table."""
    return [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
