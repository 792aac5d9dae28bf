"""Define the input contract of an encoder: orientation, intensities, size and spacing."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Self, TypedDict

from braindino.errors import BraindinoError
from braindino.files import check_shape, digest_of_json

NORMALISATIONS = ("zscore-nonzero", "zscore-clipped", "zscore-background", "minmax")
DTYPES = ("uint8", "float16")
MIN_PLANE = 4  # voxels; a thinner plane shows no anatomy at any size


class _Written(TypedDict, total=False):
    """Describe a contract in JSON; see `Preprocessing` for the meaning of the fields.

    Attributes:
        orientation: axis codes, or "native".
        slice_axes: three indices of axes.
        clip: two percentiles.
        normalise: one of `NORMALISATIONS`.
        depth: number of slices, or null.
        size: rows and columns.
        spacing: voxel size [mm], or null.
        centre: "head" or "scan".
        dtype: one of `DTYPES`.
    """

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
    """Define the input that an encoder expects; stored with every store, checkpoint and export.

    Sources: BrainDINO (arXiv 2604.27277), Methods, for the preset "paper"; its released downstream code for
    "released-code".

    Attributes:
        orientation: axis codes to reorient to ("RAS": axes run to the right, front, top), or "native". Axes
            are permuted and flipped, never rotated: an oblique scan is cut along its own axes.
        slice_axes: indices of the oriented axes that become slices, rows and columns. (2, 1, 0) on RAS is
            axial: slices run from bottom to top, rows from back to front, columns from left to right.
        clip: lower and upper percentile of the nonzero voxels to which values are clipped.
        normalise: one of "zscore-nonzero" (mean and deviation of the clipped nonzero voxels, background
            exactly 0), "zscore-clipped" (the background is clipped too, which raises it to the lower
            percentile; mean and deviation of all voxels above 0 after that, applied to all voxels),
            "zscore-background" (mean and deviation of the clipped nonzero voxels, applied to the background
            too; the former definition of "released-code", supported for stores and encoders made with it),
            and "minmax" (0 to 1, background 0).
        depth: number of slices, or None to keep the number of the scan.
        size: rows and columns.
        spacing: None stretches the scan's field of view to depth and size. A number [mm] keeps proportions:
            voxels of that size in all directions, cropped or padded with background around `centre`; with
            depth None this applies within slices only.
        centre: middle of the cropped box with a spacing: "head" (of the bounding box of the nonzero voxels)
            or "scan" (of the field of view, which keeps registered scans of one case aligned).
        dtype: "uint8" or "float16", the type of stored slices.
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
        """Convert lists of JSON to tuples, so that equal contracts are equal, and check the values."""
        try:
            object.__setattr__(self, "slice_axes", tuple(int(axis) for axis in self.slice_axes))
            object.__setattr__(self, "clip", tuple(float(percentile) for percentile in self.clip))
            object.__setattr__(self, "size", tuple(int(length) for length in self.size))
            object.__setattr__(self, "depth", None if self.depth is None else int(self.depth))
            object.__setattr__(self, "spacing", None if self.spacing is None else float(self.spacing))
        except (TypeError, ValueError) as error:
            raise BraindinoError(f"preprocessing: {error}") from None
        self._require_possible_grid()
        rising = len(self.clip) == 2 and 0 <= self.clip[0] < self.clip[1] <= 100
        self._require(rising, "clip", "two rising percentiles within 0-100")
        self._require(self.normalise in NORMALISATIONS, "normalise", " or ".join(NORMALISATIONS))
        self._require(self.dtype in DTYPES, "dtype", " or ".join(DTYPES))

    def _require_possible_grid(self) -> None:
        """Raise BraindinoError for an impossible orientation, depth, size, spacing or centre."""
        pairs = {frozenset("LR"), frozenset("PA"), frozenset("IS")}
        codes = {pair for pair in pairs if len(pair & set(str(self.orientation))) == 1}
        oriented = self.orientation == "native" or (len(codes) == 3 and len(self.orientation) == 3)
        self._require(oriented, "orientation", "three axis codes such as RAS, or native")
        self._require(sorted(self.slice_axes) == [0, 1, 2], "slice_axes", "an order of 0, 1, 2")
        self._require(self.depth is None or self.depth > 0, "depth", "a positive number, or none")
        large_enough = len(self.size) == 2 and min(self.size) >= MIN_PLANE
        self._require(large_enough, "size", f"rows and columns, each at least {MIN_PLANE}")
        spaced = self.spacing is None or 0.05 <= self.spacing <= 20
        self._require(spaced, "spacing", "millimetres from 0.05 to 20, or none")
        centred = self.centre == "head" or (self.centre == "scan" and self.spacing is not None)
        self._require(centred, "centre", "head or scan, and scan only with a spacing")

    def _require(self, good: bool, field: str, expected: str) -> None:
        if not good:
            raise BraindinoError(f"preprocessing: {field} is {getattr(self, field)!r}, expected {expected}")

    @classmethod
    def preset(cls, name: str, **overrides: Any) -> Self:
        """Return the contract named in PRESETS, with some fields replaced."""
        if name not in PRESETS:
            raise BraindinoError(f"preprocessing: no preset {name!r}; there are {', '.join(PRESETS)}")
        return cls.from_dict({**PRESETS[name].to_dict(), **overrides})

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Return the contract of a `to_dict`; missing keys take their default, unknown ones raise."""
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(value) - known):
            raise BraindinoError(
                f"preprocessing: unknown key {', '.join(unknown)}; there are {', '.join(sorted(known))}"
            )
        return cls(**value)

    @classmethod
    def from_file(cls, value: Any, source: object) -> Self:
        """Return the contract of a `to_dict` read from a file, which errors name."""
        check_shape(value, _Written, f"{source}: preprocessing")
        try:
            return cls.from_dict(value)
        except BraindinoError as error:
            raise BraindinoError(f"{source}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict for JSON, with lists in place of tuples."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        }

    @property
    def zero_background(self) -> bool:
        """Return whether voxels that are 0 in the scan are exactly 0 after preparation."""
        return self.normalise in ("zscore-nonzero", "minmax")

    @property
    def digest(self) -> str:
        """Return the hex SHA-256 of the contract, equal for equal contracts on every machine."""
        return digest_of_json(self.to_dict())

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced."""
        return replace(self, **changes)

    def difference(self, other: "Preprocessing") -> list[str]:
        """Return one line per field that differs: `depth: 128 here, 64 there`."""
        return [
            f"{name}: {value} here, {other.to_dict()[name]} there"
            for name, value in self.to_dict().items()
            if value != other.to_dict()[name]
        ]

    def __str__(self) -> str:
        """Return all fields on one line."""
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
