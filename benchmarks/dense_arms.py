"""Train the arms of a segmentation benchmark on the same slices, and write the table of them.

An arm is a decoder on a frozen encoder (`detail`), the same decoder on the same network with random
weights, other ones for each seed (`detail-twin`), the same decoder with all tokens set to zero
(`detail-no-tokens`), or a U-Net without an encoder (`unet`). All arms have the same split, labelled people,
coordinates, loss, augmentation, number of steps and choice of the epoch. The number of steps is that of
`--steps` at every label fraction, because an epoch of three people is tiny: fewer cases draw more slices per
epoch.

A cell is one arm at one label fraction with one seed (and fold). A call trains the cells that are neither
finished nor being trained by another process, so that the same command may run several times at once, or with
parts of `--arms`; an interrupted cell continues. dense_report.py writes the table.
Used by hippocampus.py, soop_lesion.py, open_lesions.py and dense_search.py.
"""

import fcntl
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from lightning.pytorch import Trainer

from braindino.analysis.predictions import read_predictions
from braindino.datasets import Cohort
from braindino.datasets.splits import nested_fraction
from braindino.encoders.base import Encoder
from braindino.encoders.vit import ViTEncoder
from braindino.errors import BraindinoError
from braindino.files import read_json, write_json
from braindino.probing import FrozenProbeModule, Protocol, SegmentationHead, run_study
from braindino.probing.augmentation import Augmentation
from braindino.probing.decoders.registry import decoder_class

BATCH = 16  # slices per step, the default of the head
UNET, TWIN, NO_TOKENS = "unet", "twin", "no-tokens"
CONTROLS = {TWIN: "random twin", NO_TOKENS: "no tokens", "": "frozen encoder"}
AUGMENTATIONS: dict[str, Augmentation | bool] = {
    "none": False,
    "flips": Augmentation(shift=0, scale=0, offset=0),
    "full": True,
}


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
        hard_empty: share of slices drawn from those without a region, by their false pixels.
        criterion: the loss.
        ema: share of the moving average of the weights that a step keeps.
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
    hard_empty: float = 0.0
    criterion: str = "dice_ce"
    ema: float = 0.0
    lr: float | None = None
    deep_supervision: bool = False
    test_flips: bool = False
    folds: int | None = None

    def head(self, arm: Arm, cases: int) -> SegmentationHead:
        """Return the head of an arm; an epoch of `cases` cases has the steps of one epoch, rounded up."""
        return SegmentationHead(
            slices_per_case=math.ceil(self.steps / self.epochs * BATCH / cases),
            foreground=self.foreground,
            decoder=arm.decoder,  # type: ignore[arg-type]
            image_size=None if arm.decoder == UNET else self.image_size,
            neighbours=self.neighbours,
            test_flips=self.test_flips,
            deep_supervision=self.deep_supervision and decoder_class(arm.decoder).has_coarse_maps,
            use_tokens=arm.control != NO_TOKENS,
            hard_empty=self.hard_empty,
            criterion=self.criterion,  # type: ignore[arg-type]
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
    """

    work: Path
    settings: Settings
    data: Callable[[int | None], Cohort]
    encoder: Callable[[int | None], Encoder]

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
            self.settings.head(cell.arm, cases),
            lr=self.settings.lr,
            ema=self.settings.ema,
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
