"""The protocol of a study: repetitions, early stopping, evaluation, confidence intervals."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from braindino.encoders.cache import Precision
from braindino.errors import BraindinoError
from braindino.probing.data.cases import Missing
from braindino.training.study_progress import baseline_names

MAX_EPOCHS, PATIENCE = 100, 10  # BrainDINO's logs
# Baselines by name, in the order of tables; `unet` runs only on request.
BASELINES = ("age_sex_site", "untrained_encoder", "no_tokens", "unet")


@dataclass(frozen=True)
class Protocol:
    """Train every seed and label fraction, select the epoch on validation, evaluate test once.

    Args:
        seeds: each gives another initialisation, order of batches and choice of labelled people.
        fractions: shares of the training people; for one seed the smaller is part of the larger.
        recipe: "default", or "paper": no standardising of features, and optimiser, weight decay, batch size,
            epochs, patience and dropout of BrainDINO's released code (docs/method.md, "Probes"). Options that
            are set besides it (`model.lr`, `max_epochs`, ...) are not changed. For a segmentation only the
            standardising is off.
        max_epochs: number of epochs at most; 100 if omitted, 8 in the paper's recipe for classes and numbers.
        patience: epochs without improvement on validation after which training stops; 10 if omitted, in the
            paper's recipe 4 for classes and numbers, 20 for survival.
        select_by: "metric" (that of the head, e.g. the AUROC; ties go to the lower loss) or "loss".
        selection: the part that selects the epoch. "test" is the way of BrainDINO's released code, for
            comparison with its figures only: such results are too good, and are marked.
        resamples: draws of people for the confidence intervals; 0 for none.
        missing: a case without one of its modalities is used with the gap masked ("mask"), or dropped
            ("drop").
        baselines: models that every result is compared with, paired by people. True adds those that apply:
            `age_sex_site`, a linear model of these traits; `untrained_encoder`, a randomly initialised
            encoder of the same shape; `no_tokens`, the decoder of a segmentation that reads pixels, with all
            tokens set to zero. A name or a list of names adds these to them: `unet` is a supervised U-Net of
            the slices, without an encoder; `no_tokens` also applies to a decoder of tokens and coordinates.
            False adds none. Baselines that are added later continue the same run (docs/segmentation.md,
            "Baselines").
        precision: precision of the features: "float32", or "bfloat16" (faster on a GPU, cached as float16).
            With the encoder in the loop, precision of the training.
        extraction_batch: slices per forward of the encoder, when features are extracted.
        cache: whether features are extracted once and cached, in `features` inside the store (true) or in a
            folder. False runs the encoder in the loop, on slices that change from epoch to epoch
            (`model.augment`). Segmentation always does; its patch tokens are cached there if its slices do
            not change, or are only flipped.
        cache_gb: gigabytes that the patch tokens of one encoder and setting may take on disk; 0 caches none.
            Scans beyond are encoded in every epoch. Features of whole scans are small and have no limit.
    """

    seeds: list[int] = field(default_factory=lambda: [0, 1, 2, 3, 4])
    fractions: list[float] = field(default_factory=lambda: [1.0])
    recipe: Literal["default", "paper"] = "default"
    max_epochs: int | None = None
    patience: int | None = None
    select_by: Literal["metric", "loss"] = "metric"
    selection: Literal["validation", "test"] = "validation"
    resamples: int = 1000
    missing: Missing = "mask"
    baselines: bool | str | list[str] = True
    precision: Precision = "float32"
    extraction_batch: int = 128
    cache: bool | Path = True
    cache_gb: float = 20.0

    def __post_init__(self) -> None:
        """Raise BraindinoError for options out of range."""
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or min(self.seeds) < 0:
            raise BraindinoError(f"probe.seeds {self.seeds}: expected different numbers, 0 or above.")
        if not self.fractions or not all(0 < fraction <= 1 for fraction in self.fractions):
            raise BraindinoError(f"probe.fractions {self.fractions}: expected numbers above 0, at most 1.")
        if len(set(self.fractions)) < len(self.fractions):
            raise BraindinoError(f"probe.fractions {self.fractions}: each once.")
        for name in ("max_epochs", "patience", "extraction_batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise BraindinoError(f"probe.{name} {getattr(self, name)}: expected 1 or more.")
        if not 0 <= self.cache_gb < float("inf"):
            raise BraindinoError(f"probe.cache_gb {self.cache_gb}: expected 0 or more.")
        if self.resamples < 0:
            raise BraindinoError(f"probe.resamples {self.resamples}: expected 0 or more.")
        self._check_baselines()

    def _check_baselines(self) -> None:
        """Raise BraindinoError for unknown or repeated names of baselines."""
        names = self.named_baselines
        unknown = [name for name in names if name not in BASELINES]
        if unknown or len(set(names)) < len(names) or self.baselines == []:
            wrong = repr(unknown[0]) if unknown else str(self.baselines)
            raise BraindinoError(
                f"probe.baselines {wrong}: expected true, false, or names, each once, out of "
                f"{', '.join(BASELINES)}."
            )

    @property
    def named_baselines(self) -> tuple[str, ...]:
        """Return the baselines that are requested by name, beside those that always apply."""
        return baseline_names(self.baselines)

    @property
    def cells(self) -> list[tuple[int, float]]:
        """Return every (seed, fraction), in the order in which they are trained and reported."""
        return [(seed, float(fraction)) for fraction in self.fractions for seed in self.seeds]
