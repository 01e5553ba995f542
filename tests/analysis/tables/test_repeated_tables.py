"""The tables of repeated pre-training, and where they are shown."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.correlate import show
from analysis.evaluation.repeated import Frames, repeated_pretraining
from analysis.report import write_report
from analysis.tables.repeated_tables import repeated_sentence, repeated_tables
from analysis.tables.study_tables import study_latex, study_markdown, study_tables


@pytest.fixture(scope="module")
def repeated(planted, study):
    """The planted study with two sources that were pre-trained again with two seeds."""
    generator = np.random.default_rng(3)
    names, every = ("s05", "s06"), {}
    for seed in (1, 2):
        frames = [frame.copy() for frame in planted]
        for frame, column in zip(frames, ("dice", "score", "source_dice"), strict=True):
            here = frame["source"].isin(names)
            frame.loc[here, column] += 0.1 * generator.standard_normal(here.sum())
        frames[0]["dice"] = frames[0]["dice"].clip(0, 1)
        every[f"seed {seed}"] = Frames(*frames)
    replaced = dict.fromkeys(every, names)
    reasons = ["s07_seed1 lacks runs of truth."]
    return replace(study, repeated=repeated_pretraining(
        Frames(*planted), every, replaced, tune="last", reasons=reasons
    ))  # fmt: skip


def test_own_dice_with_each_seed(repeated):
    own, _ = repeated_tables(repeated)
    assert own.columns == ("source", "study", "seed 1", "seed 2")
    dice = repeated.sources.set_index("source")["source_dice"]
    assert [(row[0], row[1]) for row in own.rows] == [(name, f"{dice[name]:.2f}") for name in ("s05", "s06")]
    assert own.notes[0].startswith("After fine-tuning their Dice has a standard deviation of 0.0")
    assert own.notes[1] == "s07_seed1 lacks runs of truth."


def test_movement_of_each_estimate_and_control(repeated):
    _, table = repeated_tables(repeated)
    assert table.columns == ("metric", "spread of seeds", "study", "seed 1", "seed 2", "moves by")
    estimates, controls = table.groups
    rows = {row[0]: row for row in (*estimates, *controls)}
    assert [row[0] for row in estimates[:1]] == ["good"]
    assert {"static_leaderboard", "source_dice"} <= {row[0] for row in controls}
    value = repeated.agreement_of()["weighted_kendall"]["good"]
    assert rows["good"][2] == f"{value:.2f}"
    assert rows["good"][5] == f"{repeated.repeated.movement('good'):.2f}"
    assert rows["good"][1].endswith("%")
    assert rows["parameters"][1] == ""


def test_one_sentence_says_how_far_agreement_moves(repeated):
    names = {kind: repeated.repeated.names(kind) for kind in ("metric", "control")}
    moved = {kind: repeated.repeated.movement(*own) for kind, own in names.items()}
    assert repeated_sentence(repeated) == (
        "With 2 sources pre-trained again with 2 other seeds, weighted Kendall moves by "
        f"{moved['metric']:.2f} for {len(names['metric'])} estimates and by {moved['control']:.2f} for "
        f"{len(names['control'])} controls (root mean square)."
    )


def test_a_study_without_repeats_has_no_table(study):
    assert repeated_tables(study) == ()
    assert repeated_sentence(study) == ""


def test_if_no_repeat_is_complete_the_reasons_are_shown(planted, study):
    reasons = ["s05_seed1 lacks runs of score.", "s05_seed2 lacks runs of score."]
    nothing = repeated_pretraining(Frames(*planted), {}, {}, tune="last", reasons=reasons)
    [table] = repeated_tables(replace(study, repeated=nothing))
    assert [row[0] for row in table.rows] == reasons
    assert repeated_sentence(replace(study, repeated=nothing)) == ""


def test_it_is_in_the_terminal_in_the_texts_and_in_the_report(repeated, evidence, tmp_path, capsys):
    tables, sentence = repeated_tables(repeated), repeated_sentence(repeated)
    assert [table for table in study_tables(repeated) if table.title.startswith("Repeated")] == list(tables)
    show(repeated, [], tmp_path, "planted")
    assert sentence in capsys.readouterr().out
    assert tables[1].title in study_markdown(repeated)
    assert tables[1].title in study_latex(repeated)
    write_report(repeated, evidence, output=tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert sentence in page
    assert all(table.title in page for table in tables)
    assert (tmp_path / "study" / "planted" / "repeated.csv").read_text().startswith("part,metric,kind,source,target,")
