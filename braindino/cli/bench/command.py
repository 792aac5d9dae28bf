"""The verb `bench`: encoders x tasks x label fractions x seeds, as one table that is resumed."""

from functools import partial
from pathlib import Path
from typing import Any

from braindino.errors import BraindinoError


def bench(
    plan: Path,
    dry_run: bool = False,
    jobs: int = 1,
    submit: bool = False,
    cluster: dict[str, Any] | None = None,
    resamples: int = 1000,
) -> int:
    """Probe several encoders on several tasks, and put them into one table.

    Each encoder on each task is a run of `probe` in `<out>/<task>/<encoder>/bench`; features are extracted
    once per encoder and store, and shared by all tasks. What is done is not done again: the same command goes
    on, and with nothing left it writes the table again. One that fails stops no other.

    Args:
        plan: bench.yaml with `out: FOLDER`, `encoders: {NAME: PATH, ...}`, `seeds: [0, 1]`,
            `fractions: [0.1, 1.0]` and `tasks: [...]`: names of configs, or
            `{config: NAME, name: TASK, data.root: PATH, ...}`, where every further key overrides one of the
            config. An encoder that needs a store of its own is `NAME: {path: PATH, data.store: FOLDER}`.
        dry_run: only print how many cells are left, what is known of their features, and of the time.
        jobs: studies, and then comparisons, side by side on this machine.
        submit: hand the studies to SLURM by submitit, as an array with a job each, and return; where there is
            no SLURM they run on this machine.
        cluster: what SLURM has to be told, as `{slurm_partition: gpu, timeout_min: 600}`.
        resamples: draws of people for the intervals of the differences.

    Returns:
        0; 1 when a study failed.
    """
    from braindino.cli.bench.plan import Plan
    from braindino.cli.bench.progress import progress_of

    for name, number in (("jobs", jobs), ("resamples", resamples)):
        if number < 1:
            raise BraindinoError(f"--{name} {number}: expected 1 or more.")
    asked = Plan.read(plan)
    studies = asked.studies
    size = f"{len(asked.encoders)} encoders x {len(asked.tasks)} tasks x {len(asked.fractions)} fractions"
    print(f"bench: {size} x {len(asked.seeds)} seeds in {asked.out}", flush=True)
    if dry_run:
        from braindino.cli.bench.estimate import estimate

        print("\n".join(estimate(studies, asked.cells).lines(jobs)))
        return 0
    from braindino.cli.bench.work import check_study

    known = {study: progress_of(study.name, study.folder, asked.cells) for study in studies}
    left = [
        study for study in studies if not (known[study].state == "done" and known[study].done == asked.cells)
    ]
    for study in left:  # now, and not hours later in a job
        check_study(study, elsewhere=submit)
    asked.save()
    running = [study for study in left if known[study].state == "running"]
    if running:
        raise BraindinoError(
            f"{running[0].name} is being run already (`braindino status {asked.out}`).\n"
            "Wait until it has ended; a study whose process was killed is not in the way."
        )
    from braindino.cli.bench import work
    from braindino.cli.bench.progress import cells_bar
    from braindino.locks import locked

    if submit:
        ids = work.submit(left, cluster or {}, asked.out) if left else []
        print(f"submitted {len(ids)} studies: {', '.join(ids) or 'nothing is left'}")
        print(f"`braindino status {asked.out}` tells how far they are; this command again writes the table")
        return 0
    with locked(asked.out, "the folder of the bench"):
        with cells_bar(left, asked.cells):
            failed = work.run_studies(left, jobs)
        _write_table(asked.out, studies, resamples, jobs)
    if failed:
        print(f"{len(failed)} of {len(studies)} studies failed; the same command tries them again")
    return 1 if failed else 0


def _write_table(out: Path, studies: list[Any], resamples: int, jobs: int) -> None:
    from braindino.cli.bench.table import bench_table, text
    from braindino.csv_text import csv_text
    from braindino.files import atomic_write
    from braindino.parallel import parallel_map

    try:
        table, compared, said = bench_table(
            studies, resamples, partial(parallel_map, jobs=jobs, unit="comparison")
        )
    except ValueError as error:
        raise BraindinoError(f"bench: {error}.") from None
    if table.empty:
        return
    for name, written in (("table.csv", table), ("compare.csv", compared)):
        with atomic_write(out / name) as file:
            file.write(csv_text(written))
    print("\n".join(["", *text(table, studies[0].encoder), *said]))
    print(f"wrote {out / 'table.csv'} and compare.csv; `braindino report {out}` makes a page of it")
