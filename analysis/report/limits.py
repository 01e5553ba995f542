"""The limitations of a study, in plain words."""

from collections import Counter

from analysis.evaluation.study import Study
from analysis.report.evidence import ReportEvidence

MOST_NAMED = 6
MANY_SOURCES = 50  # from about here an interval of a rank measure is narrower than 0.2


def limits(study: Study, evidence: ReportEvidence) -> tuple[str, ...]:
    """List the limitations that the suite states, then those that follow from the study.

    Args:
        study: The result of `correlate`.
        evidence: The evidence, with the limitations that the suite states.

    Returns:
        A sentence or two each.
    """
    return (*evidence.limits, *_scans(study), _tuned(study), *_few(study), *_weak(study))


def _scans(study: Study) -> list[str]:
    names = [pool.target for pool in study.pools]
    shared = Counter(study.scans[name] for name in names if name in study.scans)
    sentences = []
    for scan, count in shared.items():
        if count > 1:
            targets = ", ".join(name for name in names if study.scans.get(name) == scan)
            sentences.append(
                f"{count} of {len(names)} targets ({targets}) derive from one scan ({scan}). They are not independent, "
                "so a mean by scan is shown next to the mean by target."
            )
    return sentences


def _tuned(study: Study) -> str:
    if study.tune == "all":
        return "Fine-tuning tuned all weights, with the budget in the settings; another budget may change the ranking."
    return f"Fine-tuning tuned only: {study.tune}. The ranking may differ when all weights are tuned."


def _few(study: Study) -> list[str]:
    most = max(len(pool.sources) for pool in study.pools)
    if most >= MANY_SOURCES:
        return []
    return [
        f"A pool has at most {most} sources, so intervals are wide; the order of a table says nothing about estimates "
        "whose intervals overlap."
    ]


def _weak(study: Study) -> list[str]:
    weak = sorted(study.sources.loc[study.sources["length"].isin(("scratch", "short")), "source"])
    if not weak:
        return []
    names = ", ".join(weak[:MOST_NAMED]) + (", ..." if len(weak) > MOST_NAMED else "")
    return [
        f"{len(weak)} sources are from scratch or hardly trained ({names}). They are easy to rank and flatter every "
        "estimate; the column 'without weak' leaves them out."
    ]
