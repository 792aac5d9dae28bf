"""Features in two dimensions, for the eye: PCA, t-SNE, UMAP."""

from importlib.util import find_spec
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from braindino.analysis.principal_components import principal_components

Method = Literal["tsne", "umap", "pca"]
BEFORE = 50  # principal components that t-SNE and UMAP are given (van der Maaten and Hinton 2008, section 4)


def project(features: ArrayLike, method: Method, seed: int = 0, neighbours: int = 30) -> NDArray[np.float32]:
    """Features (N, D) in the plane: (N, 2).

    Distances between groups mean little in t-SNE and UMAP, sizes of groups nothing.

    Args:
        neighbours: t-SNE's perplexity, UMAP's neighbours; at most a third of N.
        seed: of the random start; the same seed gives the same picture on one machine.

    Raises:
        ValueError: fewer than five rows, or UMAP asked for and umap-learn not installed.
    """
    values = np.asarray(features, np.float32)
    if len(values) < 5:
        raise ValueError(f"{len(values)} rows: a picture of a space needs five at least")
    if method == "pca":
        return principal_components(values, 2)
    near = max(2, min(neighbours, (len(values) - 1) // 3))
    if method == "umap" and find_spec("umap") is None:
        raise ValueError("--method umap needs umap-learn: `pip install 'braindino[umap]'`; or take tsne")
    from sklearn.decomposition import PCA

    fewer = PCA(min(BEFORE, *values.shape), random_state=seed).fit_transform(values)
    if method == "umap":
        import umap

        return np.asarray(
            umap.UMAP(n_neighbors=near, random_state=seed, n_jobs=1).fit_transform(fewer), np.float32
        )
    from sklearn.manifold import TSNE

    return np.asarray(TSNE(perplexity=near, init="pca", random_state=seed).fit_transform(fewer), np.float32)
