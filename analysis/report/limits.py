"""What the figures of a study cannot show, in plain words."""

from collections import Counter

from analysis.evaluation.study import Study
from analysis.report.evidence import ReportEvidence

MOST_NAMED = 6
MANY_SOURCES = 50  # from about here an interval of a rank measure is narrower than 0.2


def limits(study: Study, evidence: ReportEvidence) -> tuple[str, ...]:
    """The limits of the suite, then those that the study's own shape sets.

    Args:
        study: What `correlate` found.
        evidence: With what the suite says of itself.

    Returns:
        A sentence or two each.
    """
    return (*evidence.limits, *_scans(study), _tuned(study), *_few(study), *_weak(study))


def _scans(study: Study) -> list[str]:
    names = [pool.target for pool in study.pools]
    shared = Counter(study.scans[name] for name in names if name in study.scans)
    told = []
    for scan, count in shared.items():
        if count > 1:
            some = ", ".join(name for name in names if study.scans.get(name) == scan)
            told.append(
                f"{count} of {len(names)} targets ({some}) derive from one scan ({scan}). They are not independent; "
                "the mean by scan stands beside the mean by target for that reason."
            )
    return told


def _tuned(study: Study) -> str:
    if study.tune == "all":
        return "Fine-tuning tuned all weights, with the budget of the settings; another budget may rank otherwise."
    return (
        f"Fine-tuning tuned only: {study.tune}. What ranks first then need not rank first when all weights are tuned."
    )


def _few(study: Study) -> list[str]:
    most = max(len(pool.sources) for pool in study.pools)
    if most >= MANY_SOURCES:
        return []
    return [
        f"A pool has at most {most} sources: intervals are wide, and the order of a table does not rank estimates "
        "whose intervals overlap."
    ]


def _weak(study: Study) -> list[str]:
    weak = sorted(study.sources.loc[study.sources["length"].isin(("scratch", "short")), "source"])
    if not weak:
        return []
    some = ", ".join(weak[:MOST_NAMED]) + (", ..." if len(weak) > MOST_NAMED else "")
    return [
        f"{len(weak)} sources are from scratch or hardly trained ({some}). They are easy to rank and flatter every "
        "estimate; the column 'without weak' leaves them out."
    ]
