"""The verb `synth`: a synthetic copy of a dataset in its native layout, to try everything without data."""

import shutil
from pathlib import Path

from braindino.errors import BraindinoError


def synth(
    out: Path,
    dataset: str = "adni",
    people: int = 60,
    sessions: int = 2,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> int:
    """Write a synthetic dataset: volumes that look like heads, with labels that show in the anatomy.

    Args:
        out: folder to write to; must be empty or new.
        dataset: whose layout, tables and quirks: abide, adni, atlas, bids, brain_age, brats2021, brats2023,
            brats2024_goat, cohort, folder, ixi, long579, oasis, pixar, ucsf_pdgm or upenn_gbm.
        people: number of people.
        sessions: most sessions of a person.
        shape: voxels from left to right, back to front, bottom to top, as `[48,56,48]`.
        seed: another seed gives other people, the same seed the same files.
    """
    from difflib import get_close_matches

    from braindino.synthetic import GENERATORS, generator

    if dataset not in GENERATORS:
        near = get_close_matches(dataset.lower(), GENERATORS, 1, 0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise BraindinoError(f"no synthetic {dataset!r}.{hint} There are: {', '.join(sorted(GENERATORS))}.")
    for name, number, least in (
        ("people", people, 1),
        ("sessions", sessions, 1),
        ("shape", min(shape), 8),
        ("seed", seed, 0),
    ):
        if number < least:
            raise BraindinoError(f"{name}: {number} is too small; give at least {least}.")
    out = Path(out)
    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise BraindinoError(f"{out}: is not an empty folder. Give a new one, or remove what is there.")
    # Under another name until it is whole: a folder of that name is complete, whatever interrupted whom.
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    planted = generator(dataset)(part, people=people, sessions=sessions, shape=tuple(shape), seed=seed)
    part.replace(out)
    others = sum(planted.dropped.values())
    print(f"{dataset}: {people} people, {len(planted.scans)} scans to use and {others} to pass over in {out}")
    return 0
