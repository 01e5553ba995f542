"""The figures that the paper publishes next to those of a study on the paper's targets, one table per measure.

Yang et al., MICCAI 2023, arXiv 2307.11958: Table 1 has weighted Kendall and Pearson of five methods on five CT targets
of the Medical Segmentation Decathlon, Table 2 weighted Kendall of the ablation of CC-FV.
"""

from collections.abc import Mapping
from functools import partial

import pandas as pd

from analysis.evaluation.study import FINE_TUNING, Study
from analysis.published import ABLATION, CITATION, MEAN, PUBLISHED, published_ablation, published_agreement
from analysis.tables.number_format import number
from analysis.tables.tables import Column, Row, Table, table_of

MEASURES = {"weighted_kendall": "weighted Kendall", "pearson": "Pearson"}
FOUR_DIGITS = partial(number, digits=4)  # as the paper prints them
OURS, THEIRS = "ours", "published"
SOURCE_NOTE = (
    f"ours: this study. published: {CITATION} and Table 2 (the lower rows; it has weighted Kendall only), as printed, "
    "of the authors' own networks and splits."
)
PRINTED_NOTE = (
    "The five printed values of single scale have the mean 0.4350, not 0.4341. CC-FV's ten points in the paper's "
    "figure 2 (liver) give a weighted Kendall of 0.7322, not 0.6374; the cause is not known."
)


def published_tables(study: Study) -> tuple[Table, ...]:
    """The paper's figures next to ours: weighted Kendall, then Pearson; none without a target of the paper.

    A target is one of the paper's if its cases are those of the same folder of the Medical Segmentation Decathlon.
    """
    targets = paper_targets(study)
    return tuple(_table(study, measure, targets) for measure in MEASURES) if targets else ()


def paper_targets(study: Study) -> dict[str, str]:
    """Target of the study -> the folder that the paper calls it by, for the paper's targets."""
    if study.truth_from != FINE_TUNING:
        return {}
    folders = _folders()
    scans = {pool.target: study.scans.get(pool.target, "") for pool in study.pools}
    return {target: folder for target, folder in scans.items() if folder in folders}


def _table(study: Study, measure: str, targets: Mapping[str, str]) -> Table:
    methods = sorted(PUBLISHED, key=lambda name: -PUBLISHED[name]["weighted_kendall"])
    rows = [_rows(study, dict.fromkeys(methods, "Table 1"), published_agreement(), measure, targets)]
    if measure in published_ablation():
        variants = {metric: f"Table 2, {_plain(variant)}" for metric, variant in ABLATION.items()}
        rows.append(_rows(study, variants, published_ablation(), measure, targets))
    labels = [MEAN, *targets] if len(targets) > 1 else list(targets)
    columns = (
        Column("metric", "metric"),
        Column("in the paper", "place"),
        *(Column(f"{label} {whose}", f"{label} {whose}", FOUR_DIGITS) for label in labels for whose in (OURS, THEIRS)),
    )
    title = f"The paper's figures next to ours: {MEASURES[measure]} (tuned: {study.tune})"
    return table_of(title, columns, rows, _notes(study, measure, targets))


def _rows(
    study: Study, places: Mapping[str, str], published: pd.DataFrame, measure: str, targets: Mapping[str, str]
) -> list[Row]:
    """A row for each metric of `places`, metric -> where the paper has it; NaN for a metric without a score here."""
    rows: list[Row] = []
    for metric, place in places.items():
        theirs = published[published["metric"] == metric].set_index("target")[measure]
        ours = study.agreement_targets(metric)[measure].astype(float).reindex(list(targets))
        cells: dict[str, object] = {"metric": metric, "place": place}
        cells |= {f"{MEAN} {OURS}": float(ours.mean(skipna=False)), f"{MEAN} {THEIRS}": float(theirs[MEAN])}
        for target, folder in targets.items():
            cells |= {f"{target} {OURS}": float(ours[target]), f"{target} {THEIRS}": float(theirs[folder])}
        rows.append(cells)
    return rows


def _plain(variant: str) -> str:
    """The paper's name of a row of Table 2: what stands in parentheses, if there are any."""
    return variant.partition("(")[2].rstrip(")") or variant


def _notes(study: Study, measure: str, targets: Mapping[str, str]) -> list[str]:
    notes = [SOURCE_NOTE]
    in_table = [*PUBLISHED, *(ABLATION if measure in published_ablation() else ())]
    absent = [name for name in in_table if study.agreement_targets(name).empty]
    if absent:
        ablation = "; experiment=paper_ablation scores the rows of Table 2" if set(absent) & set(ABLATION) else ""
        notes.append(f"Not scored in this study: {', '.join(absent)}{ablation}.")
    printed = len(_folders())
    if 1 < len(targets) < printed:
        notes.append(f"The mean of ours is over {len(targets)} targets, the published mean over {printed}.")
    return [*notes, *([PRINTED_NOTE] if measure == "weighted_kendall" else [])]


def _folders() -> set[str]:
    """The folders of the paper's five targets."""
    return set(published_agreement()["target"]) - {MEAN}
