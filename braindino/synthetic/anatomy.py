"""Model the anatomy of a synthetic head: shares of tissue by position, age and atrophy."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

Tissue = Literal["wm", "gm", "csf", "bone", "fat", "muscle", "eye", "wmh"]


@dataclass(frozen=True)
class Tissues:
    """Hold the share of each tissue on a grid.

    Attributes:
        shares: tissue -> float32 (X, Y, Z); they sum to at most 1, the rest is air.
        brain: float32 (X, Y, Z), share of brain.
    """

    shares: dict[Tissue, np.ndarray]
    brain: np.ndarray


class Anatomy:
    """Describe one person's head as a function of position.

    Positions are millimetres in the frame of the head: right, anterior, superior from about the middle of the
    head. Structures are ellipsoids and shells with soft edges; folds are the zero sets of a sum of waves, so
    no random field of the grid's size is needed and any grid shows the same person.
    """

    def __init__(self, seed: int, age: float, sex: str, atrophy: float) -> None:
        rng = np.random.default_rng([seed, 0])
        years = max(0.0, age - 20) / 60  # 1 at eighty
        growth = max(0.0, 20 - age) / 15  # 1 at five: a smaller head, a thicker cortex, narrow ventricles
        self.scale = (1.025 if sex == "M" else 0.975) * rng.normal(1, 0.02) * rng.normal(1, 0.015, 3)
        self.scale *= 1 - 0.12 * growth
        self.ventricle = float(
            np.exp(rng.normal(0, 0.1)) * (1 + 0.3 * years + 1.0 * atrophy) * (1 - 0.3 * growth)
        )
        self.cortex = float(rng.normal(3.6, 0.15) * (1 - 0.12 * years - 0.25 * atrophy + 0.3 * growth))
        self.sulcus = float(rng.normal(0.17, 0.01) * (1 + 0.5 * years + 1.8 * atrophy))
        self.hippocampus = float(rng.normal(1, 0.05) * (1 - 0.08 * years - 0.45 * atrophy))
        self.recession = float(abs(rng.normal(0.4, 0.2)) + 0.6 * years + 2.4 * atrophy)  # mm, from the skull
        self.wmh = float(max(0.0, rng.normal(0.3, 0.3) + 2.2 * (years - 0.4)))
        self.middle = np.array([0, 0, 12], np.float32)  # of the brain, above that of the head
        self._waves = [(rng.normal(0, 1, 3), rng.uniform(0, 2 * np.pi)) for _ in range(7)]
        self._warp = [(rng.normal(0, 0.022, 3), rng.uniform(0, 2 * np.pi)) for _ in range(3)]

    def tissues(self, positions: np.ndarray, softness: float) -> Tissues:
        """Return the tissues at some positions.

        Args:
            positions: (3, X, Y, Z), in the frame of the head [mm].
            softness: width over which edges are blurred, as by voxels of that size [mm].
        """
        x, y, z = (positions[k] / np.float32(self.scale[k]) for k in range(3))
        x, y, z = (
            c + np.float32(1.8) * np.sin(w[0] * x + w[1] * y + w[2] * z + p)
            for c, (w, p) in zip((x, y, z), _as32(self._warp), strict=True)
        )
        paint = _Canvas(np.abs(x), x, y, z - self.middle[2], softness)
        self._outside(paint)
        self._brain(paint)
        self._inside(paint)
        return Tissues(paint.shares, paint.brain)

    def _outside(self, paint: "_Canvas") -> None:
        """Paint neck, face, scalp, skull and eyes."""
        paint.put("fat", paint.ellipsoid((0, -14, -84), (62, 66, 74)))  # neck and jaw
        paint.put("fat", paint.ellipsoid((0, 48, -62), (54, 48, 60)))  # face
        paint.put("fat", paint.ellipsoid((0, 92, -58), (11, 16, 18)))  # nose
        paint.put("muscle", paint.ellipsoid((0, -14, -84), (56, 60, 68)))
        paint.put("muscle", paint.ellipsoid((0, 46, -62), (48, 43, 55)))
        paint.put("bone", paint.ellipsoid((30, 52, -56), (18, 22, 16)))  # maxilla, and the sinus in it
        paint.put(None, paint.ellipsoid((28, 56, -54), (11, 15, 11)))
        paint.put(None, paint.ellipsoid((5, 64, -52), (4, 22, 14)))  # nasal cavity: air
        paint.put(None, paint.ellipsoid((0, 14, -80), (9, 8, 26)))  # pharynx
        paint.put("bone", paint.ellipsoid((0, 54, -92), (34, 34, 16)))  # jaw
        paint.put("muscle", paint.ellipsoid((0, 46, -90), (26, 32, 14)))  # tongue
        paint.put("fat", paint.ellipsoid((0, -28, -110), (15, 15, 44)), 0.6)  # cervical spine
        paint.put("csf", paint.ellipsoid((0, -36, -106), (8, 8, 56)))
        paint.put("bone", paint.ellipsoid((44, -28, -50), (22, 20, 14)))  # mastoid, petrous bone
        self.shell = paint.head_shell()
        paint.put("fat", paint.depth(self.shell + np.float32(13.5)))
        paint.put("muscle", paint.depth(self.shell + np.float32(9.5)))
        paint.put("bone", paint.depth(self.shell + np.float32(8)))
        # Marrow between the two tables of the skull.
        paint.put("fat", paint.band(self.shell, -5.6, 1.0), 0.45)
        paint.put("fat", paint.ellipsoid((32, 70, -36), (17, 20, 15)))  # orbit
        paint.put("eye", paint.ellipsoid((32, 76, -36), (12, 12, 12)))

    def _brain(self, paint: "_Canvas") -> None:
        """Paint CSF, folded cortex over white matter, cerebellum and brain stem."""
        paint.put("csf", paint.depth(self.shell + np.float32(3.2)))
        x, y, z = paint.x, paint.y, paint.z
        fold = sum(
            np.sin(np.float32(w[0]) * x + np.float32(w[1]) * y + np.float32(w[2]) * z + np.float32(p))
            for w, p in ((0.24 * v / np.linalg.norm(v), p) for v, p in self._waves)
        ) / np.float32(2.6)
        depth: np.ndarray = self.shell - np.float32(self.recession)
        groove = np.exp(-((fold / np.float32(self.sulcus)) ** 2))
        # Grey matter that lines a sulcus on both sides.
        valley = np.exp(-((fold / np.float32(0.62)) ** 2))
        white = depth - np.float32(11) * valley
        depth = depth - np.float32(11) * groove
        # The falx: a cleft between the hemispheres, from the vault down to the corpus callosum.
        callosum = np.sqrt(((y + 6) / 46) ** 2 + ((z - 2) / 24) ** 2)
        falx = paint.ax - np.float32(0.2 + 4 * self.sulcus) + 60 * np.maximum(1.2 - callosum, 0)
        # Sylvian fissure: a sheet that rises backwards, from the surface in to the insula.
        rise = np.abs(z + 6 + np.float32(0.5) * (y - 12)) * np.float32(0.9)
        width = np.float32(6 * self.sulcus)
        sylvian = np.maximum.reduce([rise - width, 38 - paint.ax, np.abs(y - 8) - 30])
        tentorium = paint.distance((20, -52, -46), (34, 32, 23))
        cut = np.minimum.reduce([falx, sylvian, tentorium])
        grey = paint.depth(np.minimum(depth, cut))
        white = paint.depth(np.minimum(white, cut) - np.float32(self.cortex))
        paint.put("gm", grey)
        paint.put("wm", white)
        paint.brain = grey.copy()
        body = paint.ellipsoid((20, -52, -46), (29, 27, 19))
        folia = np.float32(0.5) + np.float32(0.5) * np.sin(np.float32(0.75) * z + np.float32(0.3) * y)
        paint.put("gm", body)
        paint.put("wm", body * folia, 0.45)
        paint.put("wm", paint.ellipsoid((13, -50, -44), (14, 14, 7)))
        stem = paint.ellipsoid((0, -24, -46), (14, 13, 34))
        paint.put("wm", stem, 0.9)
        paint.brain = np.maximum.reduce([paint.brain, body, stem])

    def _inside(self, paint: "_Canvas") -> None:
        """Paint deep grey matter, hippocampi, ventricles and white-matter lesions."""
        v, h = self.ventricle, self.hippocampus
        wide = 1 + 0.55 * (v - 1)
        paint.put("wm", paint.ellipsoid((0, -4, 14), (20, 40, 9)))  # corpus callosum, without folds
        paint.put("gm", paint.ellipsoid((11 + 2 * (v - 1), -14, 4), (9, 14, 8)))  # thalamus
        paint.put("gm", paint.ellipsoid((27, 6, 1), (6, 17, 9)))  # putamen
        paint.put("gm", paint.ellipsoid((13 + 4 * (v - 1), 18, 12), (5, 13, 9)))  # caudate
        if self.wmh > 0:
            caps = np.maximum(
                paint.ellipsoid((15 + 5 * v, 30, 14), (4 * self.wmh, 6 * self.wmh, 5 * self.wmh)),
                paint.ellipsoid((19 + 5 * v, -42, 12), (5 * self.wmh, 6 * self.wmh, 5 * self.wmh)),
            )
            paint.put("wmh", caps, min(1.0, self.wmh))
        # Medial temporal lobe: CSF of fixed size, filled by the hippocampus according to its size.
        paint.put("csf", paint.ellipsoid((27, -16, -21), (9.5, 19, 7.5)))
        paint.put("gm", paint.ellipsoid((27, -16, -22), (9.5 * h, 19 * h, 7.5 * h)))
        body = paint.radius((6.5 + 4.5 * v, -4, 17), (5.5 * v, 33 * wide, 7 * wide))
        frontal = paint.radius((9 + 3.5 * v, 24, 13), (6 * v, 13 * wide, 9.5 * wide))
        atrium = paint.radius((16 + 5 * v, -36, 8), (6.5 * v, 15 * wide, 9 * wide))
        horn = paint.radius((33, -14, -15), (2.2 * v, 15 * wide, 2.2 * v))
        for radius, size in ((body, 5.5 * v), (frontal, 6 * v), (atrium, 6.5 * v), (horn, 2.2 * v)):
            paint.put("csf", paint.soft(radius, size))
        paint.put("csf", paint.ellipsoid((0, -8, 2), (2.4 * v, 14, 10)))  # third ventricle
        paint.put("csf", paint.ellipsoid((0, -38, -40), (6 * wide, 5 * wide, 9)))  # fourth


class _Canvas:
    """Paint shares of tissue on a grid, later ones over earlier ones, on both sides at once."""

    def __init__(self, ax: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray, softness: float) -> None:
        self.ax, self.x, self.y, self.z = ax, x, y, z
        self.softness = np.float32(softness)
        self.shares: dict[Tissue, np.ndarray] = {}
        self.brain = np.zeros_like(x)

    def put(self, tissue: Tissue | None, cover: np.ndarray, most: float = 1.0) -> None:
        """Cover the painted tissues.

        Args:
            tissue: tissue that covers, or None for air.
            cover: share that is covered.
            most: maximum share.
        """
        if most < 1:
            cover = cover * np.float32(most)
        left = 1 - cover
        for share in self.shares.values():
            share *= left
        if tissue is not None:
            if tissue in self.shares:
                self.shares[tissue] += cover
            else:
                self.shares[tissue] = cover.copy()

    def radius(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        """Return the relative radius in an ellipsoid and its mirror image, 1 on the surface."""
        a, b, c = (np.float32(r) for r in radii)
        x = (self.ax - np.float32(centre[0])) / a
        y = (self.y - np.float32(centre[1])) / b
        z = (self.z - np.float32(centre[2])) / c
        radius: np.ndarray = np.sqrt(x * x + y * y + z * z)
        return radius

    def distance(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        """Return the distance [mm] from the surface of an ellipsoid to first order, negative inside."""
        r = self.radius(centre, radii)
        slope = self.radius(centre, tuple(a * a for a in radii))  # type: ignore[arg-type]
        distance: np.ndarray = r * (r - 1) / np.maximum(slope, np.float32(1e-3))
        return distance

    def soft(self, radius: np.ndarray, size: float) -> np.ndarray:
        """Return the share inside `radius` < 1, where one unit of the radius is `size` mm."""
        return self.depth((1 - radius) * np.float32(size))

    def ellipsoid(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
        """Return the share inside an ellipsoid."""
        return self.soft(self.radius(centre, radii), min(radii))

    def depth(self, depth: np.ndarray) -> np.ndarray:
        """Return the share inside a surface, from the depth [mm] below it."""
        return np.clip(depth / self.softness + np.float32(0.5), 0, 1)

    def band(self, depth: np.ndarray, middle: float, half: float) -> np.ndarray:
        """Return the share of a layer of thickness 2 `half` around the depth `middle`."""
        return self.depth(np.float32(half) - np.abs(depth - np.float32(middle)))

    def head_shell(self) -> np.ndarray:
        """Return the depth [mm] below the brain's envelope, flatter below, narrower in front."""
        y, z = self.y, self.z
        x = self.ax * (1 + np.float32(0.0016) * np.maximum(y, 0))
        c = np.where(z > 0, np.float32(66), np.float32(50))
        depth: np.ndarray = (1 - np.sqrt((x / 68) ** 2 + (y / 86) ** 2 + (z / c) ** 2)) * np.float32(66)
        return depth


def _as32(waves: list[tuple[np.ndarray, float]]) -> list[tuple[np.ndarray, np.float32]]:
    return [(w.astype(np.float32), np.float32(p)) for w, p in waves]
