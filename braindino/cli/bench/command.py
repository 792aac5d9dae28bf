"""The verb `bench`: encoders x tasks x label fractions x seeds in one resumable table."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from braindino.verbs.opening import check_at_least_one

if TYPE_CHECKING:
    from braindino.verbs.bench import BenchResult, Study


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
    once per encoder and store, and shared by all tasks. The same command again continues with the studies
    that are left, and writes the table again. A study that fails stops no other.

    Args:
        plan: bench.yaml with `out: FOLDER`, `encoders: {NAME: PATH, ...}`, `seeds: [0, 1]`,
            `fractions: [0.1, 1.0]` and `tasks: [...]`: names of configs, or
            `{config: NAME, name: TASK, data.root: PATH, ...}`, where every further key overrides one of the
            config. An encoder that needs a store of its own is `NAME: {path: PATH, data.store: FOLDER}`.
        dry_run: only print how many cells are left, what is known of their features, and of the time.
        jobs: studies, and then comparisons, side by side on this machine.
        submit: hand the studies to SLURM by submitit, as an array with a job each, and return; where there is
            no SLURM they run on this machine.
        cluster: options of SLURM, as `{slurm_partition: gpu, timeout_min: 600}`.
        resamples: draws of people for the intervals of the differences.

    Returns:
        0; 1 when a study failed.
    """
    from braindino.cli.bench.plan import Plan

    check_at_least_one(jobs=jobs, resamples=resamples)
    read = Plan.read(plan)
    size = f"{len(read.encoders)} encoders x {len(read.tasks)} tasks x {len(read.fractions)} fractions"
    print(f"bench: {size} x {len(read.seeds)} seeds in {read.out}", flush=True)
    if dry_run:
        from braindino.cli.bench.estimate import estimate_bench

        print("\n".join(estimate_bench(read.studies, read.cells).lines(jobs)))
        return 0
    from braindino.cli.bench import work
    from braindino.verbs.bench import bench as run
    from braindino.verbs.bench import unfinished_studies

    # Checked now, and not hours later in a job.
    for study in unfinished_studies(read.studies, read.cells):
        work.check_study(study, elsewhere=submit)
    if submit:
        _submit(read.studies, read.cells, cluster or {}, read.out)
        return 0
    train = partial(work.run_studies, jobs=jobs)
    result = run(read.studies, read.out, read.cells, train, resamples=resamples, jobs=jobs)
    _print_result(result, read.studies)
    return 1 if result.failed else 0


def _submit(studies: "list[Study]", cells: int, cluster: dict[str, Any], out: Path) -> None:
    """Hand the unfinished studies to SLURM, and print what to do next."""
    from braindino.cli.bench import work
    from braindino.verbs.bench import check_not_running, unfinished_studies, write_studies

    unfinished = unfinished_studies(studies, cells)
    write_studies(out, studies, cells)
    check_not_running(unfinished, cells, out)
    ids = work.submit(unfinished, cluster, out) if unfinished else []
    print(f"submitted {len(ids)} studies: {', '.join(ids) or 'nothing is left'}")
    print(f"`braindino status {out}` shows how far they are; this command again writes the table")


def _print_result(result: "BenchResult", studies: "list[Study]") -> None:
    """Print the table and its notes, and how many studies failed."""
    from braindino.analysis.comparison.bench_table import format_bench_table
    from braindino.analysis.comparison.controls import control_text

    if not result.table.empty:
        print("\n".join(["", *format_bench_table(result.table, studies[0].encoder), *result.notes]))
        if lines := control_text(result.controls):
            print("\n".join(["", *lines[:-1]]))
        out = result.out
        print(f"wrote {out / 'table.csv'} and compare.csv; `braindino report {out}` makes a page of it")
    if result.failed:
        print(f"{len(result.failed)} of {len(studies)} studies failed; the same command tries them again")
