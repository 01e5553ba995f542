"""Compare the scores of every metric and control with the truth on every target."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.agreement.best_of_many import BestByChance, best_by_chance
from analysis.agreement.corrections import corrected
from analysis.agreement.critical_difference import CriticalDifference, critical_difference
from analysis.agreement.measure_table import WEIGHTED_KENDALL
from analysis.evaluation.controls import CONTROLS, HINDSIGHT, SCORE_COLUMNS
from analysis.evaluation.evaluate import Evaluation, Missing, gap_table
from analysis.evaluation.kinds import METRIC, RUNG_OF
from analysis.evaluation.pool_stability import COLUMNS as STABILITY
from analysis.evaluation.pool_stability import stability
from analysis.evaluation.short_fine_tuning import RUNG_COLUMNS, ShortFineTuning, no_rungs
from analysis.evaluation.study import ALL, FINE_TUNING, WITHOUT_WEAK, Study
from analysis.evaluation.subset import Rows, Settings, rows_of
from analysis.truth.dispersion import dispersion, rank_table
from analysis.truth.gain import GAIN_COLUMNS, gain_table
from analysis.truth.pools import OTHER_PATIENT, Pool, Scope, families_of, main_tune, place_name, pools, without_weak
from analysis.truth.scratch_budget import Place, budget_table, no_longer_runs, starved
from analysis.truth.seed_case_bootstrap import with_cases

SOURCE_COLUMNS = ("source", "task", "arch", "width", "length", "parameters", "source_dice", "source_cases")
TRUTH_COLUMNS = ("source", "target", "seed", "tune", "dice")
RESAMPLES = 2000  # with these, the ends of a 95% interval vary by about 0.01 between seeds


def correlate(
    truth: pd.DataFrame,
    scores: pd.DataFrame,
    sources: pd.DataFrame,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    scans: Mapping[str, str] | None = None,
    missing: Missing = "nan",
    cases: pd.DataFrame | None = None,
    truth_from: str = FINE_TUNING,
    controls: Collection[str] = CONTROLS,
    rungs: pd.DataFrame | None = None,
    longer: pd.DataFrame | None = None,
) -> Study:
    """Compare the scores of every metric and control with the truth.

    Args:
        truth: Columns source, target, seed, tune, dice (a fraction): one row per fine-tuning.
        scores: Columns source, target, metric, score, reason, seconds: one row per score; NaN with its reason. An
            optional column `kind` says which rows are further controls.
        sources: Columns source, task, arch, width, length (scratch, short or long), parameters, source_dice,
            source_cases, and optionally family (empty: the architecture): one row per source.
        resamples: The number of bootstrap draws and permutations.
        seed: The seed of all draws.
        scans: Target -> the scan that its cases come from; if given, means by scan are added to means by target.
        missing: "nan": a metric without a score for a source of a pool has no agreement on that target;
            "leave_out": it is compared on the other sources. The reason says so in both cases.
        cases: The Dice of each test case, see `analysis.truth.seed_case_bootstrap.with_cases`; if given, there are
            intervals over cases.
        truth_from: Where the truth comes from.
        controls: The controls to compare with.
        rungs: The Dice on validation cases during fine-tuning, see `analysis.evaluation.short_fine_tuning`; None: none.
        longer: Longer training from scratch, see `analysis.truth.scratch_budget.budget_table`; None: none.

    Returns:
        The study.

    Raises:
        ValueError: A frame lacks a column or has a duplicate row, a Dice is not a fraction, or a source of the truth
            has no row in `sources`.
    """
    _check(scores, "scores", SCORE_COLUMNS, ["source", "target", "metric"])
    _check(sources, "sources", SOURCE_COLUMNS, ["source"])
    every = pools(truth) if cases is None else with_cases(pools(truth), cases)
    tune = main_tune(every)
    strong = without_weak(sources)
    names = frozenset(name for pool in every for name in pool.sources)
    families = {str(source): str(family) for source, family in families_of(sources).items()}
    settings = Settings(scores, sources, tune, dict(scans or {}), missing, resamples, families, controls, _short(rungs))
    generators = np.random.default_rng(seed).spawn(4)
    subsets = [
        rows_of([pool.only(kept) for pool in every], subset=subset, settings=settings, generator=generator)
        for (subset, kept), generator in zip({ALL: names, WITHOUT_WEAK: strong}.items(), generators[:2], strict=True)
    ]
    main = [pool for pool in every if pool.tune == tune]
    sub_pools = stability(main, scores, sources, generator=generators[2], short=settings.short, controls=controls)
    budget = budget_table(main, sources, no_longer_runs() if longer is None else longer)
    gain = _gain(every, subsets[0], settings, generators[3], starved(budget))
    return replace(_study(every, subsets, settings, sub_pools, gain, seed=seed, truth_from=truth_from), budget=budget)


def _short(rungs: pd.DataFrame | None) -> ShortFineTuning:
    rungs = no_rungs() if rungs is None else rungs
    _check(rungs, "rungs", RUNG_COLUMNS, ["source", "target", "seed", "tune", "rung"])
    return ShortFineTuning.of(rungs)


def _study(
    every: Sequence[Pool],
    subsets: Sequence[Rows],
    settings: Settings,
    sub_pools: Sequence[Mapping[str, str | float]],
    gain: pd.DataFrame,
    *,
    seed: int,
    truth_from: str,
) -> Study:
    main = tuple(pool for pool in every if pool.tune == settings.tune)
    return Study(
        tune=settings.tune,
        pools=main,
        other_pools=tuple(pool for pool in every if pool.tune != settings.tune),
        scores=subsets[0].scores,
        sources=settings.sources,
        agreement=corrected(pd.DataFrame([row for rows in subsets for row in rows.agreement])),
        reliability=pd.DataFrame([row for rows in subsets for row in rows.reliability]),
        gain=gain,
        differences=_differences(subsets[0].means),
        best_by_chance=_best_by_chance(subsets[0].means, subsets[0].scores),
        comparisons=pd.DataFrame([row for rows in subsets for row in rows.comparisons]),
        stability=pd.DataFrame([*sub_pools, *subsets[0].stability], columns=list(STABILITY)),
        ranks=rank_table(main),
        dispersion=dispersion(main),
        gaps=gap_table(main, subsets[0].scores),
        scans=settings.scans,
        resamples=settings.resamples,
        seed=seed,
        truth_from=truth_from,
        rungs=settings.short.rungs,
    )


def _gain(
    every: Sequence[Pool],
    rows: Rows,
    settings: Settings,
    generator: np.random.Generator,
    starved_places: Mapping[Place, str],
) -> pd.DataFrame:
    """The gain over training from scratch on each target of the main study, then on another patient's cases.

    The rows of another patient are targets of their own, named by `place_name`, and enter no mean; which of their
    sources count is decided on the target's own scan. Empty without sources.
    """
    if rows.draws is None:
        return pd.DataFrame(columns=list(GAIN_COLUMNS))
    other_patient = settings.tune + OTHER_PATIENT
    on_own_scan = {place: f"{reason}, on the target's own scan" for place, reason in starved_places.items()}
    own, others = (
        gain_table(
            [pool for pool in every if pool.tune == tune],
            settings.sources,
            draws=rows.draws,
            generator=generator,
            starved=places,
        )
        for tune, places in ((settings.tune, starved_places), (other_patient, on_own_scan))
    )
    others = others[others["scope"] == Scope.TARGET]
    names = [place_name(target, other_patient, main=settings.tune) for target in others["target"]]
    return pd.concat([own, others.assign(target=names)], ignore_index=True) if len(others) else own


def _differences(means: Mapping[str, Evaluation]) -> CriticalDifference:
    """The critical difference of weighted Kendall between metrics and controls, without `best_in_hindsight`."""
    name = WEIGHTED_KENDALL.name
    compared = {metric: mean for metric, mean in means.items() if metric not in {HINDSIGHT, *RUNG_OF}}
    return critical_difference(
        {metric: mean.agreement.value[name] for metric, mean in compared.items()},
        {metric: mean.agreement.resampled[name] for metric, mean in compared.items()},
        sources=min(
            (mean.fewest for mean in compared.values() if not np.isnan(mean.agreement.value[name])), default=0.0
        ),
    )


def _best_by_chance(means: Mapping[str, Evaluation], scores: pd.DataFrame) -> BestByChance:
    metrics = scores.loc[scores["kind"] == METRIC, "metric"].unique()
    drawn = (means[metric].agreement.null[WEIGHTED_KENDALL.name] for metric in metrics)
    null = [values - values.mean() for values in drawn]  # within families the mean is what telling families apart gives
    return best_by_chance(np.array(null).reshape(len(null), -1) if null else np.empty((0, 0)))


def _check(frame: pd.DataFrame, name: str, columns: Sequence[str], key: list[str]) -> None:
    if missing := [column for column in columns if column not in frame.columns]:
        raise ValueError(f"`{name}` must have the columns {', '.join(columns)}, missing {', '.join(missing)}")
    twice = frame[frame.duplicated(key)]
    if len(twice):
        first = ", ".join(map(str, twice.iloc[0][key]))
        raise ValueError(f"`{name}` must contain each {', '.join(key)} once, got {first} again")
