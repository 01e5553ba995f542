"""The tables of the truth: its quality by target, and the gain over training from scratch."""

from functools import partial

from analysis.evaluation.study import ALL, FINE_TUNING, WITHOUT_WEAK, Study
from analysis.tables.number_format import number, percent, with_interval
from analysis.tables.tables import Column, Row, Table, table_of
from analysis.truth.gain import EVERY, SEVERAL
from analysis.truth.pools import Scope, own_tune, place_name
from analysis.truth.quality import MOST_RESAMPLES, Noise
from analysis.truth.reliability import ONE_SEED
from analysis.truth.scratch_budget import ENOUGH, starved

PRIMARY = "weighted_kendall"
THREE_DIGITS = partial(number, digits=3)  # differences of a few thousandths count


def one_seed_note(study: Study) -> str:
    """Why a truth with one seed per source has no reliability, and how to add seeds; "" if a target has more seeds."""
    if any(len(pool.seeds) > 1 for pool in study.pools):
        return ""
    more = "suite.seeds=[0,1,2] (finished runs are kept)"
    if study.truth_from != FINE_TUNING:
        more = f"rows with other numbers in the column seed of {study.truth_from}"
    return f"One seed per source: no reliability or ceiling can be stated; add seeds with {more}."


def truth_table(study: Study) -> Table:
    """The quality of the truth: spread, reliability with its interval, and ceiling.

    The means come first, then each target, then the pools with another choice of what is tuned or of another patient.
    """
    rows = study.reliability
    rows = rows.assign(shown=[_truth_name(row, study.group) for row in rows.to_dict("records")])
    means, here, every = rows["scope"] != Scope.TARGET, rows["tune"] == study.tune, rows["subset"] == ALL
    targets = rows[~means & here & every]
    crossed = targets["noise"].isin({Noise.SEEDS_AND_CASES})
    unknown = targets.loc[targets["noise"] == Noise.SEEDS, "target"]
    one_seed = one_seed_note(study)
    notes = [one_seed] if one_seed else []
    notes.append("without weak: without scratch and short sources.")
    if crossed.any() and len(unknown):
        notes.append(f"Over seeds only: {', '.join(unknown)}.")
    reasons = {
        str(row["target"]): _reason(row["reason"], one_seed=bool(one_seed)) for row in targets.to_dict("records")
    }
    notes += [f"{target}: {reason}" for target, reason in reasons.items() if reason]
    if study.tune == "head":
        notes.append("Only the head was tuned, so the truth is a linear probe, which favours LogME and H-score.")
    title = f"The truth: {study.measure_name} after fine-tuning (tuned: {study.tune})"
    shown = rows[means & here & ((len(study.pools) > 1) | (rows["subset"] != ALL))]
    columns = _truth_columns(study, cases=bool(crossed.any()))
    return table_of(title, columns, (shown, targets, rows[~here & every]), notes)


def _truth_name(row: Row, group: str) -> str:
    place = place_name(str(row["target"]), row["tune"], main=own_tune(row["tune"]))
    name = place or str(row["scope"]).replace("_", " ").replace("scan", group)
    return name + (", without weak" if row["subset"] == WITHOUT_WEAK else "")


def _reason(reason: str, *, one_seed: bool) -> str:
    """The reason without the part that one note says for all targets."""
    return "; ".join(part for part in reason.split("; ") if not (one_seed and part == ONE_SEED))


def _truth_columns(study: Study, *, cases: bool) -> tuple[Column, ...]:
    """The columns of the table of the truth; `cases` says whether reliability is also over test cases."""
    noise = "seeds and test cases" if cases else "seeds"
    measure, resamples = study.measure_name, min(study.resamples, MOST_RESAMPLES)
    reliability = (
        f"r: reliability, the expected agreement with the mean {measure} over as many other {noise}, from the "
        f"agreement of halves; intervals by bootstrap over the sources, {resamples} draws shared by all targets."
    )
    over_seeds = Column(
        "over seeds [95%]",
        lambda row: with_interval(row, "kendall_over_seeds"),
        note="over seeds: the same with other seeds on the same test cases.",
    )
    by_noise = Column(
        "by noise alone",
        "by_noise",
        THREE_DIGITS,
        "by noise alone: best - median if all sources were equally good. Unless best - median is clearly larger, "
        "choosing a source does not matter.",
    )
    return (
        Column("target", "shown"),
        Column("tuned", lambda row: own_tune(row["tune"])),
        Column("sources x seeds", lambda row: f"{row['sources']:.3g} x {row['seeds']:.3g}"),
        Column("spread", "spread", note=f"spread: best minus worst {measure}."),
        Column("best - median", "best_minus_median", THREE_DIGITS),
        by_noise,
        Column("seed sd", "seed_sd", THREE_DIGITS),
        Column("r Kendall [95%]", lambda row: with_interval(row, "kendall"), note=reliability),
        *([over_seeds] if cases else []),
        Column("r Pearson", "pearson"),
        Column("r weighted", PRIMARY),
        Column(
            "ceiling K / P / w",
            lambda row: " / ".join(number(row[f"{name}_ceiling"]) for name in ("kendall", "pearson", PRIMARY)),
            note="ceiling (Kendall / Pearson / weighted Kendall): the expected agreement of a perfect predictor with "
            f"the mean over all {noise}.",
        ),
    )


def gain_table_of(study: Study) -> Table:
    """The gain over training from scratch: mean over targets, then each target, over all architectures and for each.

    If no pool has a scratch source, or the budget is too short for all of them, the only row says so.
    """
    rows = study.gain
    title = f"Gain over training from scratch, by architecture (tuned: {study.tune})"
    if not (rows["sources"] > 0).any():
        nothing = "no pool has a source trained from scratch with the architecture and width of a pre-trained one"
        short = (
            "no source is counted: of its architecture and width there is no network from scratch, or one for which "
            "the budget is too short"
        )
        return Table(title, ("gain",), (((short if starved(study.budget) else nothing,),),))
    if len(set(rows["arch"]) - {EVERY}) == 1:  # of one architecture, the rows of all architectures say the same
        rows = rows[rows["arch"] != EVERY]
    several = (rows["sources_of"] == SEVERAL).any()
    resampled = "sources" if one_seed_note(study) else "sources and fine-tuning seeds"
    columns = (
        Column("target", lambda row: str(row["target"]) or str(row["scope"])),
        Column("architecture", "arch"),
        *([Column("pre-trained on", "sources_of")] if several else []),
        Column("pre-trained sources", lambda row: f"{row['sources']:.3g}" if row["sources"] else ""),
        Column("from scratch", "scratch_dice", THREE_DIGITS, f"from scratch, pre-trained: mean {study.measure_name}."),
        Column("pre-trained", "dice", THREE_DIGITS),
        Column(
            "gain [95%]",
            lambda row: with_interval(row, "gain", partial(number, digits=3, sign="+")),
            note="gain: of the pre-trained sources over the network of the same architecture and width trained from "
            f"scratch; interval over {resampled}.",
        ),
        Column("remark", "reason"),
    )
    means = rows["scope"] == Scope.MEAN
    return table_of(title, columns, (rows[means], rows[~means]), [_budget_note(study)])


def budget_tables(study: Study) -> tuple[Table, ...]:
    """Scratch at the study's budget and after longer training; no table without longer training."""
    rows = study.budget
    if rows.empty or not rows["enough"].any():
        return ()
    factors = sorted(set(rows.loc[rows["enough"] != "", "factor"]))
    longer = f"{' or '.join(f'{factor:g}' for factor in factors)} times the steps"
    columns = (
        Column("target", "target"),
        Column("architecture", "arch"),
        Column("width", "width"),
        Column("from scratch", "scratch_dice", THREE_DIGITS),
        Column("longer", "longer_dice", THREE_DIGITS, f"longer: mean {study.measure_name} after {longer}."),
        Column("share", "share", partial(percent, digits=1)),
        Column("budget is enough", "enough", note=f"The budget is enough if the share is at least {percent(ENOUGH)}."),
        Column("remark", "reason"),
    )
    return (table_of(f"Scratch at the study's budget and after {longer} (tuned: {study.tune})", columns, [rows]),)


def _budget_note(study: Study) -> str:
    """Whether the budget is enough for networks from scratch, which decides which sources are counted."""
    checked = study.budget[study.budget["enough"] != ""] if len(study.budget) else study.budget
    if checked.empty:
        return "It was not checked whether the budget is enough for networks from scratch (no longer training)."
    short = int((checked["enough"] == "no").sum())
    counted_out = "Their sources are not counted" if short else "All sources are counted"
    return (
        f"Targets, architectures and widths whose {study.measure_name} from scratch is below {percent(ENOUGH)} of that "
        f"after {checked['factor'].iloc[0]:g} times the steps: {short} of {len(checked)}. "
        f"{counted_out}{'' if len(checked) == len(study.budget) else '; the others were not checked'}."
    )
