"""Write a synthetic copy of a dataset in its native layout, to try everything without data."""

import shutil
from difflib import get_close_matches
from pathlib import Path

from braindino import synthetic
from braindino.errors import BraindinoError
from braindino.synthetic.files import Planted


def synth(
    out: Path | str,
    dataset: str = "adni",
    *,
    people: int = 60,
    sessions: int = 2,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> Planted:
    """Write a synthetic dataset: head-like volumes whose labels are visible in the anatomy.

    Args:
        out: folder to write to; must be empty or new.
        dataset: a name in `braindino.synthetic.GENERATORS`: the dataset whose layout, tables and
            irregularities are imitated.
        people: number of people.
        sessions: maximum number of sessions of a person.
        shape: voxels from left to right, back to front, bottom to top.
        seed: another seed gives other people, the same seed the same files.

    Returns:
        The scans that `index` should list, with their labels, and the numbers of files it should drop.

    Raises:
        BraindinoError: an unknown dataset, a number that is too small, or a folder that is not empty.
    """
    generators = synthetic.GENERATORS
    if dataset not in generators:
        near = get_close_matches(dataset.lower(), generators, 1, 0.5)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise BraindinoError(f"no synthetic {dataset!r}.{hint} There are: {', '.join(sorted(generators))}.")
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
        raise BraindinoError(f"{out}: is not an empty folder. Give a new one, or remove its content.")
    # Written under a temporary name, so that a folder of the final name is always complete.
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    planted = synthetic.generator(dataset)(
        part, people=people, sessions=sessions, shape=(shape[0], shape[1], shape[2]), seed=seed
    )
    part.replace(out)
    return planted
