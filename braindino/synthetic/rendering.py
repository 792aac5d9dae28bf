"""Render synthetic heads with known age, atrophy and lesion in MR sequences."""

from dataclasses import dataclass

import numpy as np

from braindino.synthetic.anatomy import Anatomy, Tissue

FIELD_OF_VIEW = (192.0, 228.0, 204.0)  # mm, left-right, posterior-anterior, inferior-superior

# Signal per tissue relative to white matter in T1w; the order of brightness is that of clinical images.
CONTRASTS: dict[str, dict[Tissue, float]] = {
    "T1w": {
        "wm": 1.0,
        "gm": 0.68,
        "csf": 0.2,
        "bone": 0.1,
        "fat": 1.15,
        "muscle": 0.5,
        "eye": 0.22,
        "wmh": 0.72,
    },
    "T2w": {
        "wm": 0.42,
        "gm": 0.62,
        "csf": 1.15,
        "bone": 0.08,
        "fat": 0.75,
        "muscle": 0.28,
        "eye": 1.1,
        "wmh": 0.8,
    },
    "FLAIR": {
        "wm": 0.58,
        "gm": 0.74,
        "csf": 0.12,
        "bone": 0.08,
        "fat": 0.65,
        "muscle": 0.35,
        "eye": 0.12,
        "wmh": 1.15,
    },
    "PD": {
        "wm": 0.68,
        "gm": 0.86,
        "csf": 0.8,
        "bone": 0.12,
        "fat": 0.85,
        "muscle": 0.6,
        "eye": 0.8,
        "wmh": 0.95,
    },
}
CONTRASTS["T1c"] = CONTRASTS["T1w"]
# Signal of necrotic core, oedema, enhancing rim (labels 1, 2, 3) and of a stroke's cavity.
LESIONS: dict[str, tuple[float, float, float, float]] = {
    "T1w": (0.35, 0.6, 0.62, 0.28),
    "T1c": (0.35, 0.6, 1.5, 0.28),
    "T2w": (1.05, 0.95, 0.8, 1.1),
    "FLAIR": (0.6, 1.2, 1.0, 0.35),
    "PD": (0.85, 1.0, 0.95, 0.85),
}


@dataclass(frozen=True)
class Lesion:
    """Describe a lesion in the brain of a `SyntheticHead`.

    Attributes:
        kind: "tumour" (labels 1 necrotic core, 2 oedema, 3 enhancing rim) or "stroke" (label 1).
        centre: mm from the middle of the brain, along right, anterior, superior.
        radius: mm, of the tumour's solid part or of the stroke.
        oedema: mm that the oedema reaches beyond the tumour.
        core: share of the tumour's radius that is necrotic; below 0 there is no core.
        enhancing: True if the rim takes up contrast (else it looks like oedema and has the label 2).
    """

    kind: str = "tumour"
    centre: tuple[float, float, float] = (30.0, 0.0, 20.0)
    radius: float = 14.0
    oedema: float = 12.0
    core: float = 0.55
    enhancing: bool = True


@dataclass(frozen=True)
class SyntheticHead:
    """Describe a person's head.

    Attributes:
        seed: determines size, folds, asymmetry, ventricles and cortex within the normal range.
        age: years; until 20 the head grows and the cortex thins; then the ventricles widen, the cortex thins
            further, and white-matter lesions appear.
        sex: "F" or "M"; men's heads are 5 % larger on average.
        atrophy: 0 none, 1 as in Alzheimer's disease: ventricles, sulci wide; cortex thin; hippocampi small.
    """

    seed: int
    age: float = 40.0
    sex: str = "F"
    atrophy: float = 0.0


@dataclass(frozen=True)
class Rendered:
    """Hold a scan of a head.

    Attributes:
        volume: float32 (X, Y, Z), axes right, anterior, superior; air is near 0.
        affine: (4, 4), mm, RAS.
        mask: uint8 (X, Y, Z), labels of the lesion; None without a lesion.
    """

    volume: np.ndarray
    affine: np.ndarray
    mask: np.ndarray | None


def render(
    head: SyntheticHead,
    sequence: str = "T1w",
    shape: tuple[int, int, int] = (48, 56, 48),
    spacing: tuple[float, float, float] | None = None,
    *,
    scan: int = 0,
    lesion: Lesion | None = None,
    stripped: bool = False,
) -> Rendered:
    """Scan a head with position, coil, noise and gain drawn from (`head.seed`, `scan`).

    Args:
        head: head of the person.
        sequence: a key of `CONTRASTS`. Scans with the same number `scan` are in register.
        shape: voxels along right, anterior, superior.
        spacing: size of the voxels [mm]; by default such that the whole head is in view.
        scan: number of the session; another number gives another position and noise.
        lesion: planted in the brain, if any.
        stripped: True for the brain only, on a background of exactly 0.

    Returns:
        The scan, with a mask if there is a lesion.
    """
    lengths = spacing or tuple(extent / n for extent, n in zip(FIELD_OF_VIEW, shape, strict=True))
    session = np.random.default_rng([head.seed, scan, 1])
    position = _position(session)
    affine = np.diag([*lengths, 1.0])
    affine[:3, 3] = -(np.asarray(shape) - 1) / 2 * lengths
    axes = [
        (np.arange(n) * d + o).astype(np.float32)
        for n, d, o in zip(shape, lengths, affine[:3, 3], strict=True)
    ]
    world = np.stack(np.meshgrid(*axes, indexing="ij"))
    anatomy = Anatomy(head.seed, head.age, head.sex, head.atrophy)
    positions = np.tensordot(position[:3, :3].astype(np.float32), world, 1)
    positions += position[:3, 3].astype(np.float32)[:, None, None, None]
    tissues = anatomy.tissues(positions, softness=float(max(lengths)))
    signal = dict(CONTRASTS[sequence])
    chosen = np.random.default_rng([head.seed, scan, sorted(CONTRASTS).index(sequence)])
    volume = np.zeros(shape, np.float32)
    for tissue, share in tissues.shares.items():
        volume += share * np.float32(signal[tissue] * chosen.uniform(0.97, 1.03))
    mask = None
    if lesion is not None:
        mask = _plant(
            volume,
            lesion,
            positions - anatomy.middle[:, None, None, None],
            tissues.brain,
            sequence,
            head.seed,
        )
    volume *= _coil(session, axes)
    noise = chosen.normal(0, chosen.uniform(0.015, 0.03), (2, *shape)).astype(np.float32)
    volume = np.hypot(volume + noise[0], noise[1])  # magnitude of a complex signal: Rician
    if stripped:
        volume *= tissues.brain > 0.5
    return Rendered(volume, affine, mask)


def _position(rng: np.random.Generator) -> np.ndarray:
    """Return a random rigid transform (4, 4) from the scanner to the frame of the head [mm]."""
    pitch, roll, yaw = np.deg2rad(rng.normal(0, [3.0, 2.0, 2.0]))
    cos, sin = np.cos, np.sin
    rx = np.array([[1, 0, 0], [0, cos(pitch), -sin(pitch)], [0, sin(pitch), cos(pitch)]])
    ry = np.array([[cos(roll), 0, sin(roll)], [0, 1, 0], [-sin(roll), 0, cos(roll)]])
    rz = np.array([[cos(yaw), -sin(yaw), 0], [sin(yaw), cos(yaw), 0], [0, 0, 1]])
    transform = np.eye(4)
    transform[:3, :3] = rz @ ry @ rx
    transform[:3, 3] = rng.normal(0, [1.5, 2.0, 2.0])
    return transform


def _coil(rng: np.random.Generator, axes: list[np.ndarray]) -> np.ndarray:
    """Return a smooth field of coil sensitivity, the product of a parabola per axis."""
    field = np.ones((1, 1, 1), np.float32)
    for k, axis in enumerate(axes):
        u = axis / max(1.0, float(np.abs(axis).max()))
        profile = 1 + rng.normal(0, 0.05) * u + rng.normal(0, 0.05) * u**2
        field = field * profile.astype(np.float32).reshape([-1 if j == k else 1 for j in range(3)])
    return field


def _plant(
    volume: np.ndarray, lesion: Lesion, positions: np.ndarray, brain: np.ndarray, sequence: str, seed: int
) -> np.ndarray:
    """Paint the lesion into `volume`, in place, and return its labels."""
    rng = np.random.default_rng([seed, 7])
    away = positions - np.asarray(lesion.centre, np.float32)[:, None, None, None]
    distance = np.sqrt((away**2).sum(0))
    for _ in range(3):  # lobes: the surface varies by a sixth of the radius
        wave = rng.normal(0, 1.6 / lesion.radius, 3).astype(np.float32)
        distance += np.float32(lesion.radius / 16) * np.sin(
            np.tensordot(wave, away, 1) + rng.uniform(0, 6.28)
        )
    inside = brain > 0.5
    mask = np.zeros(volume.shape, np.uint8)
    core, oedema, rim, cavity = LESIONS[sequence]
    if lesion.kind == "stroke":
        mask[inside & (distance < lesion.radius)] = 1
        volume[mask == 1] = cavity
        return mask
    mask[inside & (distance < lesion.radius + lesion.oedema)] = 2
    mask[inside & (distance < lesion.radius)] = 3 if lesion.enhancing else 2
    mask[inside & (distance < lesion.radius * lesion.core)] = 1
    for label, value in ((1, core), (2, oedema), (3, rim)):
        where = mask == label
        volume[where] = 0.15 * volume[where] + 0.85 * value  # the tissue below stays slightly visible
    return mask
