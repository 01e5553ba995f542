"""Compare the scores in the store with its truth, and write the report; `python -m analysis.correlate`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from hydra.utils import instantiate
from omegaconf import DictConfig

from analysis.dashboards.publish import publish
from analysis.dashboards.refresh import shared
from analysis.evaluation.correlate import TRUTH_COLUMNS, correlate
from analysis.evaluation.race_replay import RaceReplay
from analysis.evaluation.race_strategies import race_replay
from analysis.evaluation.repeated import Frames, RepeatedPretraining, repeated_pretraining
from analysis.evaluation.study import FINE_TUNING, Study
from analysis.report import PAGE, gather, restore_report, template_digest, write_report
from analysis.tables.number_format import number, with_interval
from analysis.tables.protocol import read_protocol, recorded_otherwise
from analysis.tables.race_tables import race_sentences
from analysis.tables.repeated_tables import repeated_sentence
from analysis.tables.study_tables import study_tables
from analysis.tables.terminal import TerminalTable
from analysis.tables.truth_tables import one_seed_note
from analysis.tables.verdict import verdict
from analysis.truth.dispersion import external_frame, external_lines
from analysis.truth.further_runs import further_rows, longer_frame, with_repeats
from analysis.truth.load import StoredDice, stored_dice, stored_rows
from analysis.truth.pools import with_other_patient, without_weak
from analysis.truth.quality import Noise
from analysis.truth.truth_table import read_truth_table, rows_outside
from benchmark.errors import InputError
from benchmark.jobs.cli import entry_point, resolved, settings_of
from benchmark.jobs.keys import job_key
from benchmark.jobs.suite_settings import repeat_name, repeated_of
from benchmark.jobs.terminal import wide_console
from benchmark.storage.digest import text_digest
from benchmark.tracking import Store
from benchmark.tracking.records import Data, Row, rung_frame, score_frame, source_frame, truth_frame

STAGES = ("truth", "score", "pretrain")  # a truth that is read from a table has no runs


def run(cfg: DictConfig, keys: Mapping[str, Sequence[str]] | None = None) -> None:
    """Compare scores and truth of the suite, log the study, and print the tables.

    Args:
        cfg: The command's config.
        keys: Stage or kind of further jobs -> keys of the jobs to use; by default all finished jobs of the suite.

    Raises:
        InputError: The store has no truth or no scores of the suite, or the table is invalid.
    """
    families, config, output = _families(cfg.suite), resolved(cfg), Path(cfg.output_dir)
    stated = _protocol(config["suite"])
    store: Store = instantiate(cfg.tracking)
    table = read_truth_table(cfg.truth, cfg.table)
    rows = {stage: stored_rows(store, stage, cfg, keys) for stage in (STAGES[1:] if table else STAGES)}
    truth = table.truth if table else truth_frame(rows["truth"])
    scans = {str(target): str(scan) for target, scan in cfg.suite.targets.items()}
    metrics = {str(name): instantiate(node) for name, node in cfg.metric.items()}
    settings = {"resamples": cfg.resamples, "seed": cfg.seed, "scans": scans, "families": families}
    further = {} if table else further_rows(store, cfg, keys)
    given = {"table": text_digest(truth.to_csv())} if table else {}
    key = _summary_key(rows | further, {"settings": settings, **stated, **given})
    sources = _sources(rows["pretrain"], families)
    in_suite = truth["source"].isin(sources["source"]) & truth["target"].isin(list(cfg.suite.targets))
    dice = None if table else stored_dice(store, rows["truth"])
    study = correlate(
        with_other_patient(truth[in_suite | (table is None)]),
        score_frame(rows["score"], metrics),
        sources,
        resamples=cfg.resamples,
        seed=cfg.seed,
        scans=scans,
        cases=dice.cases if dice else table.cases if table else None,
        truth_from=table.name if table else FINE_TUNING,
        rungs=None if table else rung_frame(rows["truth"]),
        longer=longer_frame(further["longer"], rows["truth"]) if further else None,
    )
    repeated = _repeated(rows, further, cfg, tune=study.tune, metrics=metrics, families=families)
    study = replace(study, repeated=repeated, race=_race(study, dice))
    notes = _notes(truth, sources, cfg.suite, from_table=table is not None)
    recorded = recorded_otherwise(rows, _stated(config)) if stated else ()
    with store.claim(key) as finished:
        if finished is None:
            rows["prepare"] = _prepared(store, cfg.suite.tasks)
            evidence = gather(study, store.download, rows, settings=config, external=notes, recorded=recorded)
            files = write_report(study, evidence, output=output)
            publish(
                study,
                store,
                key=key,
                suite=cfg.suite.name,
                config=config,
                files=files,
                output=output,
                settings=_published(rows, cfg),
                data=_data(rows["prepare"], [pool.target for pool in study.pools]),
            )
        else:
            restore_report(store.download, finished, output=output)
    show(study, [*notes, *recorded], output, str(cfg.suite.name))


def show(study: Study, notes: Sequence[str], output: Path, suite: str) -> None:
    """Print the reliability, the tables, the verdict, and the paths of the files.

    Args:
        study: The result of `correlate`.
        notes: Lines to print below the tables.
        output: The folder of the report.
        suite: The suite's name.
    """
    console = wide_console()
    console.print(_truth_line(study), highlight=False)
    for table in study_tables(study):
        console.print(TerminalTable(table))
    for line in (*filter(None, [repeated_sentence(study)]), *race_sentences(study), *notes, verdict(study).text):
        console.print(line, highlight=False, soft_wrap=True)
    console.print(f"tables and figures: {output / 'study' / suite}", highlight=False, soft_wrap=True)
    console.print(f"report: {(output / PAGE).resolve().as_uri()}", highlight=False, soft_wrap=True)


def _notes(truth: pd.DataFrame, sources: pd.DataFrame, suite: DictConfig, *, from_table: bool) -> list[str]:
    """What stands below the tables: the rows of a table that are not used, or how another patient compares."""
    if not from_table:
        return external_lines(external_frame(truth))
    outside = rows_outside(truth, sources, suite)
    return [outside] if outside else []


def _summary_key(rows: Mapping[str, Sequence[Row]], settings: Mapping[str, object]) -> str:
    """The key of the summary, from the keys of the jobs that it is made of."""
    used = {stage: sorted(row.key for row in jobs) for stage, jobs in rows.items()}
    return job_key("summary", "analysis.correlate", {"jobs": used, "page": template_digest(), **settings})


def _published(rows: Mapping[str, Sequence[Row]], cfg: DictConfig) -> dict[str, str]:
    """The settings that are published with the study: those that all jobs share, and the command's own."""
    own = {f"correlate.{name}": str(cfg[name]) for name in ("resamples", "seed")}
    return {**shared([*rows.get("truth", []), *rows["score"]]), **own}


def _race(study: Study, dice: StoredDice | None) -> RaceReplay | None:
    """Cost and regret of each way to pick a source; None if the truth is from a table."""
    if dice is None:
        return None
    strong = without_weak(study.sources)
    return race_replay(study.pools, study.scores, study.rungs, dice.validation, strong=strong)


def _repeated(
    rows: Mapping[str, Sequence[Row]],
    further: Mapping[str, Sequence[Row]],
    cfg: DictConfig,
    *,
    tune: str,
    metrics: Mapping[str, object],
    families: Mapping[str, str],
) -> RepeatedPretraining | None:
    """What changes when sources are pre-trained again, with each of the further seeds; None if none were."""
    settings = repeated_of(cfg.suite.get("repeated"))
    if settings is None or not further.get("repeated_pretrain"):
        return None
    own = {**rows, "truth": [row for row in rows["truth"] if row.params["tune"] == tune]}
    repeats = {
        f"seed {seed}": with_repeats(own, further, {name: repeat_name(name, seed) for name in settings.sources})
        for seed in settings.seeds
    }

    def frames(given: Mapping[str, Sequence[Row]]) -> Frames:
        truth = truth_frame(given["truth"])[list(TRUTH_COLUMNS)]
        return Frames(truth, score_frame(given["score"], metrics), _sources(given["pretrain"], families))

    return repeated_pretraining(
        frames(own),
        {name: frames(repeat.rows) for name, repeat in repeats.items() if repeat.replaced},
        {name: repeat.replaced for name, repeat in repeats.items() if repeat.replaced},
        tune=tune,
        reasons=[reason for repeat in repeats.values() for reason in repeat.reasons],
    )


def _truth_line(study: Study) -> str:
    """The reliability of the truth and its ceiling, and what was fine-tuned."""
    truth = dict(study.reliability_of())
    source = "" if study.truth_from == FINE_TUNING else f"; from {study.truth_from}"
    if one_seed := one_seed_note(study):
        return f"\ntruth: tuned: {study.tune}{source}; {one_seed[0].lower()}{one_seed[1:]}\n"
    noise = truth["noise"] or Noise.SEEDS
    over_seeds = "" if noise == Noise.SEEDS else f", {with_interval(truth, 'kendall_over_seeds')} over seeds only"
    return (
        f"\ntruth: reliability {with_interval(truth, 'kendall')} over {noise}{over_seeds} (mean over targets of "
        f"Kendall's tau), ceiling of Kendall {number(truth['kendall_ceiling'])}; tuned: {study.tune}{source}\n"
    )


def _protocol(suite: Mapping[str, Any]) -> dict[str, object]:
    """The protocol that the suite states, checked before anything is computed; empty if it states none."""
    return {"protocol": suite["protocol"]} if read_protocol(suite.get("protocol")) else {}


def _stated(config: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Stage -> the settings by which the protocol's table is made, as the stage's runs record them."""
    steps = (config["suite"].get("steps") or {}).get("pretraining")
    return {
        "truth": settings_of({"trainer": config["trainer"]}),
        "score": settings_of({"stream": config.get("stream") or {}}),
        "pretrain": {"steps": str(steps)} if steps else {},
    }


def _families(suite: DictConfig) -> dict[str, str]:
    """Source -> family, of the sources that do not belong to the family of their architecture."""
    families = {str(source): str(family) for source, family in (suite.get("families") or {}).items()}
    if unknown := sorted(set(families) - set(suite.sources)):
        raise InputError(f"suite.families must name sources of suite {suite.name}, got {', '.join(unknown)}")
    return families


def _sources(rows: Sequence[Row], families: Mapping[str, str]) -> pd.DataFrame:
    sources = source_frame(rows)
    return sources.assign(family=[families.get(source, "") for source in sources["source"]])


def _prepared(store: Store, tasks: Collection[str]) -> list[Row]:
    rows = {row.params["task"]: row for row in store.finished("prepare").values()}
    return [rows[name] for name in tasks if name in rows]


def _data(rows: Sequence[Row], targets: Collection[str]) -> dict[str, Data]:
    return {
        row.params["task"]: Data(
            row.params["task"], row.tags["data_digest"], row.tags.get("folder", row.name), "target"
        )
        for row in rows
        if row.params["task"] in targets
    }


main = entry_point("correlate", run)


if __name__ == "__main__":
    main()
