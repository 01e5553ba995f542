"""Log a study to the tracking store: flat runs for the dashboards, and one summary with tables and figures.

MLflow's charts need flat runs: one per target and metric, and one per source and target.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from analysis.dashboards.refresh import STUDY, refresh
from analysis.evaluation.kinds import TRAINING, shown_name
from analysis.evaluation.study import ALL, SUBSETS, WITHOUT_WEAK, Study
from analysis.tables.number_format import counted, number, percent
from analysis.tables.study_tables import result_table
from analysis.tables.tables import Row, markdown
from analysis.truth.pools import Pool, Scope
from benchmark.storage.digest import text_digest
from benchmark.tracking import Store
from benchmark.tracking.records import REASON, Data, Stage

# metric of the summary -> field of the truth's reliability
TRUTH_METRICS = {
    "reliability": "kendall",
    "reliability_low": "kendall_low",
    "reliability_high": "kendall_high",
    "reliability_over_seeds": "kendall_over_seeds",
    "reliability_over_seeds_low": "kendall_over_seeds_low",
    "reliability_over_seeds_high": "kendall_over_seeds_high",
    "ceiling": "kendall_ceiling",
    "ceiling_pearson": "pearson_ceiling",
    "ceiling_weighted_kendall": "weighted_kendall_ceiling",
}
MOST_NOTE = 8000  # maximum characters of a description in MLflow
# In the order in which MLflow's page of compared runs shows them.
SCALES = ("weighted_kendall", "kendall", "pearson", "spearman", "rel_1", "rel_3", "top1_regret", "ndcg")
QUALIFIED = ("_p", "_ceiling", "_share")
# Logged again below mean/ by runs of the mean over targets: MLflow draws a bar for each run that has the metric, so
# charts of these have one bar per metric of the study.
HEADLINES = ("weighted_kendall", "weighted_kendall_low", "weighted_kendall_high", "weighted_kendall_share",
             "top1_regret", "seconds")  # fmt: skip
MOST_PAIRS = 1000  # above this number MLflow's page cannot show charts of pairs, and logging them takes minutes


@dataclass(frozen=True)
class Flat:
    """A run to log; all runs of a stage have the same names of params and metrics, except that a mean has no target.

    Attributes:
        name: A readable name.
        note: The description, in Markdown.
        targets: Its targets.
        params: Its params, such as metric, scope and target.
        metrics: Its results.
        tags: Tags to filter by.
    """

    name: str
    note: str
    targets: tuple[str, ...]
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str] = field(default_factory=dict)


def publish(
    study: Study,
    store: Store,
    *,
    key: str,
    suite: str,
    config: Mapping[str, object],
    files: Sequence[Path],
    output: Path,
    settings: Mapping[str, str],
    data: Mapping[str, Data],
) -> None:
    """Log a study; the summary comes last, so a finished summary means that the study is complete.

    Args:
        study: The study.
        store: The tracking store.
        key: The key of the summary's job, which the caller has claimed.
        suite: The suite's name.
        config: The resolved settings.
        files: The files of the report, stored as artifacts of the summary.
        output: The folder that artifact paths are relative to.
        settings: The settings shared by all truth and all scores; logged as params of every run, for sweeps.
        data: Target -> its data; targets without data are not logged as inputs.
    """
    for stage, runs in ((Stage.PAIR, pair_runs(study)), (Stage.AGREEMENT, agreement_runs(study))):
        logged = store.finished(stage)  # not empty if publishing this study was interrupted
        for flat in runs:
            own_key = text_digest(f"{key}/{stage}/{sorted(flat.params.items())}")
            if own_key not in logged:
                own = {**settings, **flat.params}
                with store.run(stage, own_key, flat.name, params=own, config=own, suite=suite) as run:
                    run.log(metrics=flat.metrics, tags={**flat.tags, "study": key[:STUDY]})
                    run.describe(flat.note, [data[target] for target in flat.targets if target in data])
    truth = study.reliability_of()
    params = {
        "tune": study.tune,
        "targets": len(study.pools),
        "sources": f"{truth['sources']:g}",
        "seeds": f"{truth['seeds']:g}",
        "resamples": study.resamples,
        "seed": study.seed,
        "subsets": ", ".join(SUBSETS.values()),
        "means": f"{Scope.MEAN}, {Scope.MEAN_BY_SCAN}" if study.scans else str(Scope.MEAN),
    }
    with store.run(Stage.SUMMARY, key, f"summary of {suite}", params=params, config=config, suite=suite) as run:
        run.log(metrics=summary_metrics(study), tags={"study": key[:STUDY]})
        run.describe(markdown(result_table(study))[:MOST_NOTE], list(data.values()))
        for path in files:
            place = path.relative_to(output).parent.as_posix()
            run.file(path, "" if place == "." else place)
    refresh(store)


def summary_metrics(study: Study) -> dict[str, float]:
    """Reliability with its interval, ceilings and each metric's weighted Kendall, with and without weak sources."""
    values: dict[str, float] = {}
    for subset, suffix in ((ALL, ""), (WITHOUT_WEAK, f"/{WITHOUT_WEAK}")):
        row = study.reliability_of(subset=subset)
        values |= {f"{name}{suffix}": float(row[column]) for name, column in TRUTH_METRICS.items()}
        agreement = study.agreement_of(subset=subset)["weighted_kendall"]
        values |= {f"weighted_kendall/{metric}{suffix}": float(value) for metric, value in agreement.items()}
    return values


def agreement_runs(study: Study) -> list[Flat]:
    """The agreement of each metric and control on each target and on the means.

    The worst metric comes first, since MLflow's page shows the newest runs first.
    """
    rows = study.agreement[(study.agreement["subset"] == ALL) & (study.agreement["tune"] == study.tune)]
    ranked = study.agreement_of()["weighted_kendall"].sort_values(na_position="first").index
    places = {metric: place for place, metric in enumerate(ranked)}
    targets = tuple(pool.target for pool in study.pools)
    ordered = sorted(rows.to_dict("records"), key=lambda row: places[row["metric"]])
    return [_agreement(row, targets) for row in ordered]


def pair_runs(study: Study) -> list[Flat]:
    """The truth of each source on each target, with every score of it; none if there are more than 1,000 pairs."""
    if sum(len(pool.sources) for pool in study.pools) > MOST_PAIRS:
        return []
    wide = study.scores.pivot(index=["source", "target"], columns="metric", values="score")
    scores = {key: dict(row) for key, row in wide.iterrows()}
    return [
        _pair(pool, place, scores.get((pool.sources[place], pool.target), {}))
        for pool in study.pools
        for place in range(len(pool.sources))
    ]


def _agreement(row: Row, targets: tuple[str, ...]) -> Flat:
    metric, scope = str(row["metric"]), str(row["scope"])
    # without an empty target: on the axis of targets MLflow's page takes it for the number 0
    target = {"target": str(row["target"])} if scope == Scope.TARGET else {}
    names = [f"{scale}{end}" for scale in SCALES for end in ("", "_low", "_high")]
    names += [str(name) for name in row if str(name).endswith(QUALIFIED)]
    values = {name: float(row[name]) for name in (*names, "seconds", "targets")}
    if math.isnan(values["seconds"]):
        values["seconds"] = 0.0
    if scope == Scope.MEAN:
        values |= {f"{Scope.MEAN}/{name}": values[name] for name in HEADLINES}
    undefined = math.isnan(values["weighted_kendall"]) or row["reason"]
    means: dict[str, str] = {Scope.MEAN: f"mean over {row['targets']} targets", Scope.MEAN_BY_SCAN: "mean over scans"}
    place = f" on **{row['target']}**" if target else f", **{means[scope]}**"
    return Flat(
        name=f"{shown_name(metric)}{place.replace('**', '')}",
        note=_agreement_note(row, values, place),
        targets=tuple(target.values()) or targets,
        params={"metric": metric, "scope": scope, **target, "tune": str(row["tune"]), "sources": f"{row['sources']:g}"},
        metrics=values,
        tags={"kind": str(row["kind"])} | ({f"{REASON}{metric}": str(row["reason"])} if undefined else {}),
    )


def _agreement_note(row: Row, values: Mapping[str, float], place: str) -> str:
    low, high = values["weighted_kendall_low"], values["weighted_kendall_high"]
    kind, judged = f"the {row['kind']} ", ""
    if row["kind"] == TRAINING:
        kind, judged = "", " A choice made with one fine-tuning seed is judged by the other seeds."
    return (
        f"Agreement of {kind}**{shown_name(row['metric'])}** with the Dice after fine-tuning (tuned: {row['tune']}) of "
        f"{row['sources']:g} sources{place}.{judged}\n\n"
        f"Weighted Kendall **{number(values['weighted_kendall'])}** [{number(low)}, {number(high)}], "
        f"{_of_ceiling(values)}; Kendall {number(values['kendall'])}, Pearson {number(values['pearson'])}. "
        f"Taking its first choice loses {number(100 * values['top1_regret'], digits=1)} Dice points."
        + (f"\n\n{row['reason']}" if row["reason"] else "")
    )


def _of_ceiling(values: Mapping[str, float]) -> str:
    ceiling = values["weighted_kendall_ceiling"]
    if math.isnan(ceiling):
        return "its ceiling is unknown"
    return f"{percent(values['weighted_kendall_share'])} of the ceiling {number(ceiling)}"


def _pair(pool: Pool, place: int, scores: Mapping[Hashable, float]) -> Flat:
    source, dice = pool.sources[place], pool.dice[place]
    spread = float(dice.std(ddof=1)) if len(dice) > 1 else math.nan
    return Flat(
        name=f"{source} on {pool.target}",
        note=f"Dice of the source **{source}** on the target **{pool.target}** after fine-tuning (tuned: {pool.tune}), "
        f"mean over {counted(len(dice), 'seed')}: **{dice.mean():.3f}**, standard deviation "
        f"{number(spread, digits=3)}; with every score.",
        targets=(pool.target,),
        params={"source": source, "target": pool.target, "tune": pool.tune},
        metrics={"dice": float(dice.mean()), "dice_sd": spread, "seeds": len(dice)}
        | {str(name): float(score) for name, score in scores.items()},
    )
