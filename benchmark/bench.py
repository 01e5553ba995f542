"""Run a whole study: prepare, pretrain, truth, score, correlate; `python -m benchmark.bench experiment=scans`.

One process plans all stages and runs their jobs on a Hydra launcher. A job with a finished run in the store is skipped,
so that running the bench again resumes it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.utils import get_method
from omegaconf import DictConfig

from benchmark.errors import InputError, one_line
from benchmark.jobs.cli import composed, entry_point
from benchmark.orchestration.dry_run import forecast, show_forecast
from benchmark.orchestration.failed_jobs import FailedJob, failed_keys, write_failed
from benchmark.orchestration.further_jobs import check_further, further_jobs
from benchmark.orchestration.pipeline import (
    STAGES,
    Bench,
    finish,
    interrupted,
    is_prepared,
    keys_of,
    run_stages,
    up_to,
    with_further,
)
from benchmark.orchestration.planner import Planner


def run(cfg: DictConfig) -> None:
    """Run every stage, print the table, list the failed jobs."""
    from analysis.truth.truth_table import read_truth_table

    read_truth_table(cfg.truth, cfg.table)  # report a bad table before hours of work
    if cfg.retry not in {None, "failed"}:
        raise InputError(f"retry must be failed or null, got {cfg.retry}")
    if cfg.until not in {None, *STAGES}:
        raise InputError(f"until must be {', '.join(STAGES)} or null, got {cfg.until}")
    benches = Path(cfg.output_dir) / "bench"
    bench = Bench(cfg, benches, only=failed_keys(benches) if cfg.retry else None)
    if delivered := bench.store.deliver():
        bench.say(f"delivered {delivered} results that were waiting for the store")
    planner = Planner(cfg.suite, bench.overrides(), fine_tuned=cfg.truth != "table")
    planner.check()
    check_further(planner)
    if cfg.dry_run:
        _dry_run(bench, planner)
        return
    try:
        plan = run_stages(bench, planner, set(bench.store.finished()), correlates=True, until=cfg.until)
        if cfg.until is not None:
            if not bench.failures:
                bench.say(f"ended after {cfg.until} (until={cfg.until}); run without it to continue")
        elif plan:
            table = [f"{name}='{cfg[name]}'" for name in ("truth", "table") if cfg[name] is not None]
            _correlate(bench, [*bench.overrides()["correlate"], *table], keys_of(plan))
    except KeyboardInterrupt:
        write_failed(bench.failures, benches)
        interrupted(bench, "bench")
    bench.store.tidy()
    write_failed(bench.failures, benches)
    finish(bench, "bench")


def _dry_run(bench: Bench, planner: Planner) -> None:
    finished = bench.store.finished()
    tasks = planner.prepare()
    missing = [job for job in tasks if not is_prepared(planner.overrides["prepare"], job)]
    known = {key: row for key, row in finished.items() if not any(key in job.keys for job in missing)}
    stages = [forecast("prepare", tasks, known)]
    if not missing and bench.cfg.until != "prepare":
        every = up_to(bench.cfg.until, with_further(planner.after_prepare(), further_jobs(planner)))
        stages += [forecast(stage, jobs, finished) for stage, jobs in every.items()]
    show_forecast(stages, workers=bench.cfg.workers, console=bench.board.console)
    if missing:
        bench.say("jobs after `prepare` depend on its data; run `python -m benchmark.prepare` first to list them")


def _correlate(bench: Bench, overrides: Sequence[str], keys: Mapping[str, Sequence[str]]) -> None:
    from analysis.dashboards.refresh import lines

    try:
        get_method("analysis.correlate.run")(composed("correlate", list(overrides)), keys)
    except InputError as error:
        bench.failures.append(FailedJob("correlate", "", (), one_line(error), str(bench.folder), bad_input=True))
    for line in lines(bench.store, bench.cfg.ui):
        bench.say(line)


main = entry_point("bench", run, limited=False)

if __name__ == "__main__":
    main()
