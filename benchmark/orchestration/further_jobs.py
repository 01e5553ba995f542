"""Plans the jobs that check a study: longer training from scratch, and sources that are pre-trained again.

No table of the study reads their runs: those of longer training have the tag `variant`, and repeated sources have names
that are not in the suite's list.
"""

from benchmark.errors import InputError
from benchmark.jobs.suite_settings import LONGER, Longer, Repeated, longer_of, repeated_of
from benchmark.orchestration.planner import Job, Planner


def check_further(planner: Planner) -> None:
    """Refuse invalid settings of further jobs before any job runs.

    Raises:
        InputError: A setting is invalid.
    """
    longer_of(planner.suite.get("longer"))
    repeated = repeated_of(planner.suite.get("repeated"))
    if repeated:
        _check_repeated(repeated, planner)


def further_jobs(planner: Planner) -> dict[str, list[Job]]:
    """Kind of further jobs, see `benchmark.jobs.suite_settings.STAGE_OF` -> its jobs, without kinds not asked for.

    Nothing is checked of a truth that is not fine-tuned.
    """
    if not planner.fine_tuned:
        return {}
    longer = longer_of(planner.suite.get("longer"))
    repeated = repeated_of(planner.suite.get("repeated"))
    jobs = {LONGER: _longer(longer, planner)} if longer else {}
    return jobs | (_repeated(repeated, planner) if repeated else {})


def _check_repeated(repeated: Repeated, planner: Planner) -> None:
    known = {*planner.suite.sources, *planner.suite.get("pretrained", {})}
    if unknown := [name for name in repeated.sources if name not in known]:
        raise InputError(f"suite.repeated.sources must name sources of the suite, got {', '.join(unknown)}")
    for name, node in planner.sources.items():
        if name not in repeated.sources:
            continue
        if not node.task or not node.budget.steps:
            raise InputError(f"suite.repeated.sources must name sources that are pre-trained, got {name}")
        if node.seed in repeated.seeds:
            raise InputError(
                f"suite.repeated.seeds must differ from the seed of each source, got {node.seed}, that of {name}"
            )


def _longer(longer: Longer, planner: Planner) -> list[Job]:
    """One job per target and source from scratch, with the steps of the trainer multiplied."""
    jobs = []
    for target, sources in planner.pools.items():
        scratch = [name for name in sources if planner.sources[name].length == "scratch"]
        budget = planner.trainer_of(target).budget
        unit = "steps" if "steps" in budget else "epochs"
        overrides = (f"trainer.budget.{unit}={longer.length(budget[unit])}", f"variant={LONGER}")
        jobs += planner.tuned(target, longer.seeds, overrides, sources=scratch)
    return jobs


def _repeated(repeated: Repeated, planner: Planner) -> dict[str, list[Job]]:
    """Pre-training of the repeats, and their truth and scores on each target whose pool has the source."""
    repeats = planner.with_repeats({repeat: of for repeat, of in repeated.repeats.items() if of[0] in planner.sources})
    targets = [target for target, pool in repeats.pools.items() if pool]
    tuned = [job for target in targets for job in repeats.tuned(target, planner.suite.seeds)]
    return {"repeated_pretrain": repeats.pretrain(), "repeated_truth": tuned, "repeated_score": repeats.score()}
