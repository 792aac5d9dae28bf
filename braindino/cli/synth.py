"""The verb `synth`: write a synthetic copy of a dataset and print how many scans it has."""

from pathlib import Path


def synth(
    out: Path,
    dataset: str = "adni",
    people: int = 60,
    sessions: int = 2,
    shape: tuple[int, int, int] = (48, 56, 48),
    seed: int = 0,
) -> int:
    """Write a synthetic dataset: head-like volumes whose labels are visible in the anatomy.

    Args:
        out: folder to write to; must be empty or new.
        dataset: dataset whose layout and tables are imitated: abide, adni, atlas, bids, brain_age, brats2021,
            brats2023, brats2024_goat, cohort, folder, ixi, long579, oasis, pixar, ucsf_pdgm or upenn_gbm.
        people: number of people.
        sessions: maximum number of sessions of a person.
        shape: voxels from left to right, back to front, bottom to top, as `[48,56,48]`.
        seed: another seed gives other people, the same seed the same files.
    """
    from braindino.verbs.synth import synth as run

    planted = run(out, dataset, people=people, sessions=sessions, shape=shape, seed=seed)
    excluded = sum(planted.dropped.values())
    print(
        f"{dataset}: {people} people, {len(planted.scans)} scans to use and {excluded} to pass over in {out}"
    )
    return 0
