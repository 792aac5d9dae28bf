"""`braindino space`: a picture of a feature space, or how alike encoders are (linear CKA)."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from braindino.errors import BraindinoError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

TITLES = {"tsne": "t-SNE", "umap": "UMAP", "pca": "principal component"}
ITEM = ("dataset", "path", "slice", "row", "column")  # what makes a row the same in two files


def space(
    *embeddings: Path,
    out: Path,
    color_by: str | None = None,
    method: Literal["tsne", "umap", "pca"] = "tsne",
    cka: bool = False,
    neighbours: int = 30,
    sample: int = 5000,
    seed: int = 0,
) -> int:
    """Draw features that `braindino embed` wrote in two dimensions; or with --cka compare encoders.

    Writes the picture, and beside it as CSV the coordinates with their ids (or the table of CKA).

    Args:
        embeddings: a file of `braindino embed`; with --cka two or more, of the same scans by different
            encoders.
        out: picture to write: .png, .svg or .pdf.
        color_by: column of the file (hence of the manifest) that colours the points.
        method: `tsne`, `umap` (needs `pip install 'braindino[umap]'`) or `pca`.
        cka: linear centred kernel alignment between the files, over the rows that all of them have.
        neighbours: t-SNE's perplexity, or UMAP's neighbours.
        sample: at most so many rows are drawn, or compared; chosen by the seed.
        seed: of the choice of rows and of the method.
    """
    from braindino.encoders.embedding_files import read_embedding
    from braindino.progress import show_elapsed

    if out.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise BraindinoError(f"--out {out}: expected a name that ends in .png, .svg or .pdf.")
    for name, value in (("neighbours", neighbours), ("sample", sample)):
        if value < 2:
            raise BraindinoError(f"--{name} {value}: expected 2 or more.")
    if cka:
        if len(embeddings) < 2:
            raise BraindinoError("--cka compares files of several encoders; name two or more.")
        if color_by is not None:
            raise BraindinoError("--color-by colours points; --cka draws none.")
        return _compare(embeddings, out, sample, seed)
    if len(embeddings) > 1:
        raise BraindinoError("one file is drawn at a time; with --cka several are compared.")
    import numpy as np

    from braindino.analysis.figures.feature_space import space_figure
    from braindino.analysis.projection import project

    ids, features = read_embedding(embeddings[0])
    if color_by is not None and color_by not in ids:
        raise BraindinoError(
            f"{embeddings[0]}: no column {color_by!r}; there are {', '.join(map(str, ids))}."
        )
    rows = _chosen(len(ids), sample, seed)
    ids, features = ids.iloc[rows].reset_index(drop=True), features[rows]
    try:
        with show_elapsed(f"{TITLES[method]} of {len(ids)} rows"):
            points = project(features, method, seed, neighbours)
        title = f"{embeddings[0].stem}: {len(ids)} rows"
        figure = space_figure(points, None if color_by is None else ids[color_by], title, TITLES[method])
    except ValueError as error:
        raise BraindinoError(f"{embeddings[0]}: {error}.") from error
    _save(figure, out)
    columns = _free_names(ids.columns)
    _write(out, ids.assign(**dict(zip(columns, np.round(points, 5).T, strict=True))))
    by = f"{TITLES[method]}{'s' * (method == 'pca')}"
    print(f"{out}: {len(ids)} rows by {by}; coordinates in {out.with_suffix('.csv')} ({', '.join(columns)})")
    return 0


def _free_names(taken: "pd.Index[str]") -> tuple[str, str]:
    """Return the names of the coordinates: `x` and `y`, or others where the table has such columns."""
    for prefix in ("", "map_"):
        if not {f"{prefix}x", f"{prefix}y"} & set(taken):
            return f"{prefix}x", f"{prefix}y"
    raise BraindinoError("the table has columns 'x' or 'y', and 'map_x' or 'map_y'; rename one pair.")


def _compare(embeddings: tuple[Path, ...], out: Path, sample: int, seed: int) -> int:
    import numpy as np
    import pandas as pd

    from braindino.analysis.figures.feature_space import cka_figure
    from braindino.analysis.similarity import linear_cka
    from braindino.encoders.embedding_files import read_embedding
    from braindino.progress import track

    tables, features = zip(*(read_embedding(path) for path in embeddings), strict=True)
    columns = [name for name in ITEM if all(name in table for table in tables)]
    if "path" not in columns:
        raise BraindinoError(f"{embeddings[0]}: no column 'path' in all files, by which rows are matched.")
    places = []
    for path, table in zip(embeddings, tables, strict=True):
        rows = pd.MultiIndex.from_frame(table[columns].astype(str))
        if rows.has_duplicates:
            raise BraindinoError(
                f"{path}: several rows of one {' and '.join(columns)}.\nMake all files with the same --level."
            )
        places.append(pd.Series(np.arange(len(table)), index=rows))
    common = places[0].index
    for place in places[1:]:
        common = common.intersection(place.index, sort=False)
    if len(common) < 3:
        raise BraindinoError(f"{', '.join(map(str, embeddings))}: {len(common)} rows in common; CKA needs 3.")
    common = common[_chosen(len(common), sample, seed)]
    aligned = [values[place.loc[common].to_numpy()] for values, place in zip(features, places, strict=True)]
    values = np.ones((len(aligned), len(aligned)))
    pairs = [(i, j) for i in range(len(aligned)) for j in range(i)]
    for i, j in track(pairs, len(pairs), "CKA", unit="pair"):
        values[i, j] = values[j, i] = linear_cka(aligned[i], aligned[j])
    names = _names(embeddings)
    table = pd.DataFrame(values, index=pd.Index(names, name="linear CKA"), columns=names)
    _save(cka_figure(values, names, len(common)), out)
    _write(out, table.reset_index())
    print(table.round(3).to_string())
    print(f"{len(common)} rows in common; {out}, {out.with_suffix('.csv')}")
    wide = max(part.shape[1] for part in aligned)
    if len(common) < wide:
        print(f"Fewer rows than features ({wide}): CKA is large by chance.")
    return 0


def _names(paths: tuple[Path, ...]) -> list[str]:
    """Stems, with their folders where stems are equal."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [f"{path.parent.name}/{path.stem}" for path in paths]


def _chosen(rows: int, most: int, seed: int) -> list[int]:
    import numpy as np

    if rows <= most:
        return list(range(rows))
    return sorted(np.random.default_rng(seed).choice(rows, most, replace=False).tolist())


def _save(figure: "Figure", out: Path) -> None:
    from braindino.files import atomic_write

    with atomic_write(out, "wb") as file:
        figure.savefig(file, format=out.suffix[1:].lower(), dpi=150)


def _write(out: Path, table: "pd.DataFrame") -> None:
    from braindino.csv_text import csv_text
    from braindino.files import atomic_write

    with atomic_write(out.with_suffix(".csv")) as file:
        file.write(csv_text(table))
