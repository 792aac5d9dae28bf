"""Project features into two dimensions for pictures: PCA, t-SNE, UMAP."""

from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from braindino.analysis.principal_components import principal_components

Method = Literal["tsne", "umap", "pca"]
# Principal components before t-SNE and UMAP (van der Maaten and Hinton 2008, section 4).
COMPONENTS = 50
MIN_ROWS = 5


def project(features: ArrayLike, method: Method, seed: int = 0, neighbours: int = 30) -> NDArray[np.float32]:
    """Project features into the plane and return the coordinates (N, 2).

    In t-SNE and UMAP distances between groups mean little, and sizes of groups mean nothing.

    Args:
        features: (N, D).
        method: t-SNE, UMAP or principal components.
        seed: seed of the random start; the same seed gives the same picture on one machine.
        neighbours: t-SNE's perplexity, UMAP's neighbours; at most a third of N.

    Raises:
        ValueError: fewer than five rows, or UMAP without umap-learn installed.
    """
    values = np.asarray(features, np.float32)
    if len(values) < MIN_ROWS:
        raise ValueError(f"{len(values)} rows: a picture of a space needs at least five")
    if method == "pca":
        return principal_components(values, 2)
    neighbours = max(2, min(neighbours, (len(values) - 1) // 3))
    if method == "umap" and find_spec("umap") is None:
        raise ValueError("--method umap needs umap-learn: `pip install 'braindino[umap]'`; or take tsne")
    from sklearn.decomposition import PCA

    reduced = PCA(min(COMPONENTS, *values.shape), random_state=seed).fit_transform(values)
    if method == "umap":
        import umap

        mapping = umap.UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
    else:
        from sklearn.manifold import TSNE

        mapping = TSNE(perplexity=neighbours, init="pca", random_state=seed)
    return np.asarray(mapping.fit_transform(reduced), np.float32)
