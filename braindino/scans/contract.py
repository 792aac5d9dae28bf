"""The input contract of an encoder: orientation, intensities, depth, size and spacing of its slices."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self, TypedDict

from braindino.errors import BraindinoError
from braindino.files import check_shape, digest_of_json

NORMALISATIONS = ("zscore-nonzero", "zscore-clipped", "zscore-background", "minmax")


DTYPES = ("uint8", "float16")


SMALLEST_PLANE = 4  # voxels; a plane thinner than this shows no anatomy, however far it is stretched


def _require(good: bool, field: str, value: Any, expected: str) -> None:
    if not good:
        raise BraindinoError(f"preprocessing: {field} is {value!r}, expected {expected}")


class _Written(TypedDict, total=False):
    """A contract as JSON has it."""

    orientation: str
    slice_axes: list[int]
    clip: list[float]
    normalise: str
    depth: int | None
    size: list[int]
    spacing: float | None
    centre: str
    dtype: str


@dataclass(frozen=True)
class Preprocessing:
    """What an encoder expects of its input. Stored with every store, checkpoint and export.

    orientation: axis codes to turn to ("RAS": axes run to the right, the front, the top), or "native".
        Axes are permuted and flipped, never rotated: an oblique scan is cut along its own axes.
    slice_axes: which oriented axes become slices, rows and columns. (2, 1, 0) on RAS is axial: slices run
        from bottom to top, rows from the back to the front, columns from left to right.
    clip: percentiles of the nonzero voxels that values are clipped to.
    normalise: "zscore-nonzero" (mean and deviation of the clipped nonzero voxels, background exactly 0),
        "zscore-clipped" (the background is clipped too, which lifts it to the lower percentile; mean and
        deviation of all voxels that are above 0 after that, applied to all voxels), "zscore-background" (mean
        and deviation of the clipped nonzero voxels, applied to the background too: the preset
        "released-code" until it was corrected, kept for what was made by it), "minmax" (0 to 1, background
        0).
    depth: number of slices, or None to keep those there are. size: rows and columns.
    spacing: None stretches the scan's field of view over depth and size; a number (mm) keeps proportions:
        voxels of that size in all directions, cropped or padded with background about `centre` (depth None
        keeps the slices as they are and does so within them).
    centre: of what a spacing cuts out: "head" (the middle of the box that holds all nonzero voxels), or
        "scan" (of the field of view, which leaves scans of one case on top of each other).
    dtype: "uint8" or "float16", how the slices are stored.

    Sources: BrainDINO (arXiv 2604.27277), Methods, for "paper"; its released downstream code for
    "released-code".
    """

    orientation: str = "RAS"
    slice_axes: tuple[int, int, int] = (2, 1, 0)
    clip: tuple[float, float] = (0.5, 99.5)
    normalise: str = "zscore-nonzero"
    depth: int | None = 128
    size: tuple[int, int] = (256, 256)
    spacing: float | None = None
    centre: str = "head"
    dtype: str = "uint8"

    def __post_init__(self) -> None:
        """Make equal contracts compare equal (JSON has lists for tuples), and refuse impossible ones."""
        try:
            object.__setattr__(self, "slice_axes", tuple(int(axis) for axis in self.slice_axes))
            object.__setattr__(self, "clip", tuple(float(percentile) for percentile in self.clip))
            object.__setattr__(self, "size", tuple(int(length) for length in self.size))
            object.__setattr__(self, "depth", None if self.depth is None else int(self.depth))
            object.__setattr__(self, "spacing", None if self.spacing is None else float(self.spacing))
        except (TypeError, ValueError) as error:
            raise BraindinoError(f"preprocessing: {error}") from None
        pairs = {frozenset("LR"), frozenset("PA"), frozenset("IS")}
        codes = {pair for pair in pairs if len(pair & set(str(self.orientation))) == 1}
        _require(
            self.orientation == "native" or (len(codes) == 3 and len(self.orientation) == 3),
            "orientation", self.orientation, "three axis codes such as RAS, or native",
        )  # fmt: skip
        _require(sorted(self.slice_axes) == [0, 1, 2], "slice_axes", self.slice_axes, "an order of 0, 1, 2")
        _require(
            len(self.clip) == 2 and 0 <= self.clip[0] < self.clip[1] <= 100,
            "clip", self.clip, "two rising percentiles within 0-100",
        )  # fmt: skip
        _require(self.normalise in NORMALISATIONS, "normalise", self.normalise, " or ".join(NORMALISATIONS))
        _require(self.depth is None or self.depth > 0, "depth", self.depth, "a positive number, or none")
        _require(
            len(self.size) == 2 and min(self.size) >= SMALLEST_PLANE,
            "size", self.size, f"rows and columns, each at least {SMALLEST_PLANE}",
        )  # fmt: skip
        _require(
            self.spacing is None or 0.05 <= self.spacing <= 20,
            "spacing", self.spacing, "millimetres from 0.05 to 20, or none",
        )  # fmt: skip
        _require(
            self.centre == "head" or (self.centre == "scan" and self.spacing is not None),
            "centre", self.centre, "head or scan, and scan only with a spacing",
        )  # fmt: skip
        _require(self.dtype in DTYPES, "dtype", self.dtype, " or ".join(DTYPES))

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """The contract named in PRESETS, with some fields replaced."""
        if name not in PRESETS:
            raise BraindinoError(f"preprocessing: no preset {name!r}; there are {', '.join(PRESETS)}")
        return cls.from_dict({**PRESETS[name].to_dict(), **overrides})

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`. A missing key takes its default; an unknown one is refused."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(value) - known):
            raise BraindinoError(
                f"preprocessing: unknown key {', '.join(unknown)}; there are {', '.join(sorted(known))}"
            )
        return cls(**value)

    @classmethod
    def from_file(cls, value: Any, source: object) -> Self:
        """The inverse of `to_dict` for content of a file, which errors name."""
        check_shape(value, _Written, f"{source}: preprocessing")
        try:
            return cls.from_dict(value)
        except BraindinoError as error:
            raise BraindinoError(f"{source}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it: lists for tuples."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @property
    def zero_background(self) -> bool:
        """Whether what lies outside of the scan's nonzero voxels is exactly 0 after preparation."""
        return self.normalise in ("zscore-nonzero", "minmax")

    @property
    def digest(self) -> str:
        """Hex SHA-256: equal contracts have equal digests on every machine."""
        return digest_of_json(self.to_dict())

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields replaced."""
        return replace(self, **changes)

    def difference(self, other: "Preprocessing") -> list[str]:
        """One line per field that differs: `depth: 128 here, 64 there`. Empty when equal."""
        return [
            f"{name}: {value} here, {other.to_dict()[name]} there"
            for name, value in self.to_dict().items()
            if value != other.to_dict()[name]
        ]

    def __str__(self) -> str:
        """All fields on one line."""
        return ", ".join(f"{name}={value}" for name, value in self.to_dict().items())


PRESETS = {
    "paper": Preprocessing(),
    "released-code": Preprocessing(
        orientation="native",
        slice_axes=(2, 0, 1),
        clip=(1.0, 99.0),
        normalise="zscore-clipped",
        size=(224, 224),
    ),
    "minmax": Preprocessing(normalise="minmax"),
    "volume": Preprocessing(slice_axes=(0, 1, 2), depth=160, size=(192, 160), spacing=1.0, centre="scan"),
}
