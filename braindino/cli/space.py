"""The verb `space`: draw a feature space, or compare encoders by linear CKA."""

from pathlib import Path
from typing import Literal


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
    """Draw features of `braindino embed` in two dimensions, or with --cka compare encoders.

    Writes the picture, and beside it as CSV the coordinates with their ids (or the table of CKA).

    Args:
        embeddings: a file of `braindino embed`; with --cka two or more, of the same scans by different
            encoders.
        out: picture to write: .png, .svg or .pdf.
        color_by: column of the file (hence of the manifest) that colours the points.
        method: `tsne`, `umap` (needs `pip install 'braindino[umap]'`) or `pca`.
        cka: linear centred kernel alignment between the files, over the rows that all of them have.
        neighbours: t-SNE's perplexity, or UMAP's neighbours.
        sample: maximum number of rows to draw or compare, chosen by the seed.
        seed: seed of the choice of rows and of the method.

    Returns:
        0.
    """
    from braindino.verbs.space import METHODS
    from braindino.verbs.space import space as run

    result = run(
        embeddings,
        out,
        color_by=color_by,
        method=method,
        cka=cka,
        neighbours=neighbours,
        sample=sample,
        seed=seed,
    )
    table = out.with_suffix(".csv")
    if cka:
        print(result.table.round(3).to_string())
        print(f"{result.rows} rows in common; {out}, {table}")
        if result.rows < result.features:
            print(f"Fewer rows than features ({result.features}): CKA is large by chance.")
        return 0
    axes = "principal components" if method == "pca" else METHODS[method]
    print(f"{out}: {result.rows} rows by {axes}; coordinates in {table} ({', '.join(result.coordinates)})")
    return 0
