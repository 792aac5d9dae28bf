"""Search the settings of segmentation on training people only, one factor at a time.

The people are the 55 of the training part of hippocampus.py without folds; people of its other parts are not
used. They are split again by person: 60 % for training, 20 % to choose the epoch, 20 % for the score. Each
variant differs from the default in one setting.

    python benchmarks/dense_search.py ../shared/data/hippocampus --work search_work --decoders detail \
        --encoder pretrain --fractions 0.25 1 --seeds 0 1

Writes `benchmarks/results/dense_search.md`. The same command continues an interrupted run, and may run
several times at once. `--variants` trains some only.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

import torch
from dense_arms import Arm, ArmCell, Benchmark, Settings, resized
from dense_report import (
    RESAMPLES,
    columns_of,
    command_of,
    formatted,
    options_of,
    settings_of,
    table_head,
    tables_by_seed,
    write_page,
)
from hippocampus import PRETRAIN, SIZE, crops, pretrain

from braindino.analysis.metrics.estimates import compare_estimates, estimate
from braindino.analysis.metrics.segmentation import regions_of
from braindino.datasets import Cohort
from braindino.datasets.splits import split_people
from braindino.encoders.base import Encoder
from braindino.encoders.checkpoints import load_encoder
from braindino.errors import BraindinoError
from braindino.files import atomic_write
from braindino.probing.heads.mask_losses import Criterion

RESULTS = Path(__file__).parent / "results" / "dense_search.md"
DEFAULT = "default"


@dataclass(frozen=True)
class Variant:
    """A change of one setting.

    Attributes:
        name: name of the folder and of the row.
        changes: settings that differ from the default.
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)


def variants_of(settings: Settings) -> list[Variant]:
    """Return the default and all changes of one setting that differ from it."""
    values: dict[str, tuple[Any, ...]] = {
        "augment": ("none", "flips", "full"),
        "neighbours": (0, 1),
        "image_size": (96, 288),
        "foreground": (0.0, 0.33, 0.67),
        "hard_empty": (0.0, 0.2),
        "criterion": get_args(Criterion),
        "ema": (0.0, 0.99),
        "lr": (3e-4, 3e-3),
        "deep_supervision": (False, True),
        "test_flips": (False, True),
        "steps": (settings.steps, 2 * settings.steps),
    }
    changes = [
        Variant(f"{name} {value}", {name: value})
        for name, choices in values.items()
        for value in choices
        if value != getattr(settings, name)
    ]
    return [Variant(DEFAULT), *changes]


def inner_split(data: Cohort, work: Path) -> Path:
    """Write the split of the training people of `data` into three parts; return the file."""
    data.prepare_data()
    data.setup()
    people = data.cases[data.cases["split"] == "train"]
    split = data.cases[["group"]].assign(split="none")
    split.loc[people.index, "split"] = split_people(people, (0.6, 0.2, 0.2))
    with atomic_write(work / "inner_split.csv") as file:
        file.write(split.drop_duplicates().to_csv(index=False))
    return work / "inner_split.csv"


def benchmark_of(options: argparse.Namespace, variant: Variant, network: Encoder, split: Path) -> Benchmark:
    """Return the benchmark of a variant, in its own folder."""
    work = options.work / "variants" / variant.name.replace(" ", "_")
    work.mkdir(parents=True, exist_ok=True)
    settings = replace(settings_of(options), **variant.changes)
    return Benchmark(
        work,
        settings,
        lambda fold: crops(options.data, options.work, None, None, split),
        lambda fold: network,
    )


def rows_of(finished: dict[str, list[ArmCell]], arm: Arm, fraction: float) -> list[str]:
    """Return the table of the variants at a label fraction, with the difference from the default."""
    tables = {name: tables_by_seed(cells) for name, cells in finished.items()}
    rows: list[str] = []
    for name, seeds in tables.items():
        metrics = estimate(seeds, resamples=0)["metrics"]
        columns = columns_of(metrics, regions_of(seeds[0]))
        titles = ["labels", "decoder", "variant", "Dice minus default", *(title for _, title, _ in columns)]
        rows = rows or table_head([*titles, "CPU seconds"])
        paired = compare_estimates(seeds, tables[DEFAULT], RESAMPLES)["dice"] if DEFAULT in tables else None
        shown = [f"{fraction:.0%}", arm.decoder, name]
        shown.append("" if paired is None or name == DEFAULT else formatted(paired, 3, "+"))
        shown += [f"{metrics[column]['value']:.{digits}f}" for column, _, digits in columns]
        spent = [json.loads((cell.folder / "seconds.json").read_text()) for cell in finished[name]]
        shown.append(f"{sum(each['cpu_seconds'] for each in spent) / len(spent):.0f}")
        rows.append(f"| {' | '.join(shown)} |")
    return [*rows, ""]


def report(options: argparse.Namespace, cells: dict[str, list[ArmCell]], arms: Sequence[Arm]) -> None:
    """Write the tables of the variants whose cells are all finished."""
    page = [
        "# Search of the settings of segmentation",
        "",
        f"`{command_of()}`; people of the training part only, mean over seeds {options.seeds}; paired "
        "difference of the mean Dice of both regions with its 95 % interval over people. Default: "
        f"{settings_of(options)}.",
        "",
    ]
    for fraction in options.fractions:
        for arm in arms:
            members = {
                name: [cell for cell in each if (cell.arm, cell.fraction) == (arm, fraction)]
                for name, each in cells.items()
            }
            finished = {name: each for name, each in members.items() if all(cell.done for cell in each)}
            page += rows_of(finished, arm, fraction)
    write_page(page, options.out)


def main() -> None:
    parser = options_of(__doc__, RESULTS, decoders=["detail"], seeds=[0], fractions=[0.25])
    parser.add_argument("--variants", nargs="+", help='some only, such as default "neighbours 1"')
    parser.add_argument("--pretrain-steps", type=int, default=400, help="with --encoder pretrain")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)

    variants = {variant.name: variant for variant in variants_of(settings_of(options))}
    if unknown := set(options.variants or ()) - set(variants):
        raise BraindinoError(f"--variants {sorted(unknown)[0]!r}: expected some of {', '.join(variants)}.")
    whole = crops(options.data, options.work, None, None)
    if options.encoder == PRETRAIN:
        network = load_encoder(str(pretrain(options.work, whole, None, options.pretrain_steps)))
    else:
        network = resized(load_encoder(options.encoder), size=SIZE, spacing=None, depth=None)
    whole.use_contract(network.preprocessing)
    split = inner_split(whole, options.work)
    arms = [Arm(name) for name in options.decoders]
    benchmarks = {name: benchmark_of(options, variants[name], network, split) for name in variants}
    cells = {name: each.cells(arms, options.fractions, options.seeds) for name, each in benchmarks.items()}
    for name in options.variants or variants:
        benchmarks[name].check_settings(encoder=str(options.encoder))
        if not options.report:
            print(f"== {name}", flush=True)
            benchmarks[name].run(cells[name])
    report(options, cells, arms)


if __name__ == "__main__":
    main()
