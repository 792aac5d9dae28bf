"""Draw a feature space in two dimensions, or compare encoders by linear CKA."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from braindino.errors import BraindinoError
from braindino.verbs.opening import as_paths

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

METHODS = {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal component"}
# Rows of two files that are equal in these columns belong together.
ROW_COLUMNS = ("dataset", "path", "slice", "row", "column")
SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True)
class FeatureSpace:
    """A picture of a feature space, or of the similarity of encoders.

    Attributes:
        table: rows of the file with their coordinates; with `cka` the matrix (n, n) of the encoders.
        figure: the picture, a matplotlib figure.
        coordinates: the two columns of `table` with coordinates; empty with `cka`.
        rows: number of rows that were drawn or compared.
        features: number of features of a row; with `cka` of the widest file.
    """

    table: "pd.DataFrame"
    figure: "Figure"
    coordinates: tuple[str, ...]
    rows: int
    features: int


def space(
    embeddings: Sequence[Path | str] | Path | str,
    out: Path | str | None = None,
    *,
    color_by: str | None = None,
    method: Literal["tsne", "umap", "pca"] = "tsne",
    cka: bool = False,
    neighbours: int = 30,
    sample: int = 5000,
    seed: int = 0,
    progress: bool = True,
) -> FeatureSpace:
    """Draw the features in a file of `embed` in two dimensions, or with `cka` compare encoders.

    Args:
        embeddings: a file of `embed`; with `cka` two or more, of the same scans by different encoders.
        out: picture to write (.png, .svg or .pdf), with the table as CSV beside it. If omitted, nothing is
            written.
        color_by: column of the file, hence of the manifest, that colours the points.
        method: t-SNE, UMAP (needs umap-learn) or principal components.
        cka: compute linear centred kernel alignment between files, over the rows that all of them have.
        neighbours: t-SNE's perplexity, or UMAP's neighbours.
        sample: maximum number of rows to draw or compare; a larger file is sampled at random.
        seed: seed of the sample and of the method.
        progress: False shows no progress.

    Returns:
        The coordinates or the matrix, and the figure.

    Raises:
        BraindinoError: a file cannot be read, an argument does not fit the others, or there are too few rows.
    """
    paths = as_paths(embeddings)
    out = None if out is None else Path(out)
    if out is not None and out.suffix.lower() not in SUFFIXES:
        raise BraindinoError(f"--out {out}: expected a name that ends in .png, .svg or .pdf.")
    for name, value in (("neighbours", neighbours), ("sample", sample)):
        if value < 2:
            raise BraindinoError(f"--{name} {value}: expected 2 or more.")
    if cka:
        if len(paths) < 2:
            raise BraindinoError("--cka compares files of several encoders; name two or more.")
        if color_by is not None:
            raise BraindinoError("--color-by colours points; --cka draws none.")
        result = _compare(paths, sample, seed, progress)
    elif len(paths) > 1:
        raise BraindinoError("one file is drawn at a time; with --cka several are compared.")
    else:
        result = _project(paths[0], color_by, method, neighbours, sample, seed, progress)
    if out is not None:
        _write(result, out)
    return result


def _project(
    path: Path,
    color_by: str | None,
    method: Literal["tsne", "umap", "pca"],
    neighbours: int,
    sample: int,
    seed: int,
    progress: bool,
) -> FeatureSpace:
    """Draw one file in two dimensions."""
    import numpy as np

    from braindino.analysis.figures.feature_space import space_figure
    from braindino.analysis.projection import project
    from braindino.encoders.embedding_files import read_embedding
    from braindino.progress import show_elapsed

    ids, features = read_embedding(path)
    if color_by is not None and color_by not in ids:
        raise BraindinoError(f"{path}: no column {color_by!r}; there are {', '.join(map(str, ids))}.")
    rows = _sample(len(ids), sample, seed)
    ids, features = ids.iloc[rows].reset_index(drop=True), features[rows]
    try:
        with show_elapsed(f"{METHODS[method]} of {len(ids)} rows", progress):
            points = project(features, method, seed, neighbours)
        title = f"{path.stem}: {len(ids)} rows"
        figure = space_figure(points, None if color_by is None else ids[color_by], title, METHODS[method])
    except ValueError as error:
        raise BraindinoError(f"{path}: {error}.") from error
    columns = coordinate_columns(ids.columns)
    table = ids.assign(**dict(zip(columns, np.round(points, 5).T, strict=True)))
    return FeatureSpace(table, figure, columns, len(ids), features.shape[1])


def coordinate_columns(columns: "pd.Index[str]") -> tuple[str, str]:
    """Return the names of the coordinates: `x` and `y`, or `map_x` and `map_y`.

    Args:
        columns: columns of the table.

    Raises:
        BraindinoError: both pairs are in use.
    """
    for prefix in ("", "map_"):
        if not {f"{prefix}x", f"{prefix}y"} & set(columns):
            return f"{prefix}x", f"{prefix}y"
    raise BraindinoError("the table has columns 'x' or 'y', and 'map_x' or 'map_y'; rename one pair.")


def _compare(paths: Sequence[Path], sample: int, seed: int, progress: bool) -> FeatureSpace:
    """Compute and draw linear CKA between files, over the rows that all of them have."""
    import numpy as np
    import pandas as pd

    from braindino.analysis.figures.feature_space import cka_figure
    from braindino.analysis.similarity import linear_cka
    from braindino.progress import track

    aligned = _read_shared_rows(paths, sample, seed)
    rows = len(aligned[0])
    values = np.ones((len(aligned), len(aligned)))
    pairs = [(i, j) for i in range(len(aligned)) for j in range(i)]
    for i, j in track(pairs, len(pairs), "CKA", progress, unit="pair"):
        values[i, j] = values[j, i] = linear_cka(aligned[i], aligned[j])
    names = _names(paths)
    table = pd.DataFrame(values, index=pd.Index(names, name="linear CKA"), columns=names)
    figure = cka_figure(values, names, rows)
    return FeatureSpace(table, figure, (), rows, max(features.shape[1] for features in aligned))


def _read_shared_rows(paths: Sequence[Path], sample: int, seed: int) -> "list[NDArray[np.float32]]":
    """Return the features of each file for the rows that all files have, in the same order."""
    import numpy as np
    import pandas as pd

    from braindino.encoders.embedding_files import read_embedding

    tables, features = zip(*(read_embedding(path) for path in paths), strict=True)
    columns = [name for name in ROW_COLUMNS if all(name in table for table in tables)]
    if "path" not in columns:
        raise BraindinoError(f"{paths[0]}: no column 'path' in all files, by which rows are matched.")
    positions = []
    for path, table in zip(paths, tables, strict=True):
        index = pd.MultiIndex.from_frame(table[columns].astype(str))
        if index.has_duplicates:
            raise BraindinoError(
                f"{path}: several rows of one {' and '.join(columns)}.\nMake all files with the same --level."
            )
        positions.append(pd.Series(np.arange(len(table)), index=index))
    shared = positions[0].index
    for position in positions[1:]:
        shared = shared.intersection(position.index, sort=False)
    if len(shared) < 3:
        raise BraindinoError(f"{', '.join(map(str, paths))}: {len(shared)} rows in common; CKA needs 3.")
    shared = shared[_sample(len(shared), sample, seed)]
    return [
        values[position.loc[shared].to_numpy()] for values, position in zip(features, positions, strict=True)
    ]


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the stems of files, with their folders where stems are equal."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [f"{path.parent.name}/{path.stem}" for path in paths]


def _sample(rows: int, maximum: int, seed: int) -> list[int]:
    """Return the rows to use, in order: all, or a random sample of `maximum`."""
    import numpy as np

    if rows <= maximum:
        return list(range(rows))
    return [int(row) for row in sorted(np.random.default_rng(seed).choice(rows, maximum, replace=False))]


def _write(result: FeatureSpace, out: Path) -> None:
    """Write the picture, and the table as CSV beside it."""
    from braindino.csv_text import csv_text
    from braindino.files import atomic_write

    with atomic_write(out, "wb") as picture:
        result.figure.savefig(picture, format=out.suffix[1:].lower(), dpi=150)
    with atomic_write(out.with_suffix(".csv")) as file:
        file.write(csv_text(result.table if result.coordinates else result.table.reset_index()))
