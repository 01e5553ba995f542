"""Truth, estimates and facts of sources from CSV files: what is compared, what is left out, and what is wrong."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir

from analysis.agreement.rank_measures import weighted_kendall
from analysis.audit import run
from analysis.csv_files.estimates import read_estimates
from analysis.csv_files.example import write_example
from analysis.csv_files.pairs import pairs_of
from analysis.csv_files.sources import read_sources
from analysis.csv_files.study import study_of_files
from analysis.truth.truth_table import read_table
from benchmark.errors import InputError
from benchmark.jobs.cli import CONF, prepare_config

SOURCES, TARGETS = ("a", "b", "c", "d"), ("liver", "lung")
DICE = {(s, t): 0.1 * (i + 1) + 0.03 * j * (-1) ** i for i, s in enumerate(SOURCES) for j, t in enumerate(TARGETS)}
EXACT = 1e-12


@pytest.fixture
def written(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def truth_text(values, column="dice"):
    return f"source,target,{column}\n" + "".join(f"{s},{t},{value}\n" for (s, t), value in values.items())


def estimate_text(scores):
    return "source,target,metric,score\n" + "".join(f"{s},{t},{m},{x}\n" for (m, s, t), x in scores.items())


def command(folder, *overrides):
    """audit.json of the command."""
    prepare_config()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        run(compose("audit", [f"output_dir='{folder}'", "resamples=20", *overrides]))
    return json.loads((folder / "audit.json").read_text(encoding="utf-8"))


def test_estimates_and_controls_are_compared_on_the_same_pairs(written):
    truth = dict(DICE)
    truth["d", "liver"] = ""  # an empty value
    del truth["c", "lung"]  # no row
    scores = {("x", s, t): i + j for i, s in enumerate("abcdz") for j, t in enumerate(TARGETS)}
    scores |= {("y", s, t): -i for i, s in enumerate("abcd") for t in (*TARGETS, "colon")}
    scores["y", "a", "lung"] = ""
    pairs = pairs_of(
        read_table(written("t.csv", truth_text(truth))), read_estimates(written("e.csv", estimate_text(scores)))
    )
    reasons = {(row.source, row.target): row.reason for row in pairs.left_out.itertuples()}
    assert reasons.pop(("d", "liver")) == "dice is empty"
    assert reasons.pop(("c", "lung")) == "only in the estimates"  # has no row in the truth
    assert reasons.pop(("a", "lung")) == "no score of y"
    few = "2 sources can be compared on lung, at least 3 are needed"
    assert (reasons.pop(("b", "lung")), reasons.pop(("d", "lung"))) == (few, few)
    assert set(reasons.values()) == {"only in the estimates"}
    assert set(reasons) == {("z", "liver"), ("z", "lung"), *((s, "colon") for s in "abcd")}
    assert pairs.compared.to_dict("list") == {"source": ["a", "b", "c"], "target": ["liver"] * 3}
    assert pairs.text == "3 pairs of 3 sources and 1 target; 11 pairs are left out"


def test_the_study_has_the_agreement_of_the_scores_as_they_are(written):
    generator = np.random.default_rng(0)
    scores = {("x", s, t): generator.normal() for s in SOURCES for t in TARGETS}
    scores |= {("same", s, t): 1 for s in SOURCES for t in TARGETS}
    files = study_of_files(
        read_table(written("t.csv", truth_text({key: 100 * value for key, value in DICE.items()}, "f1"))),
        read_estimates(written("e.csv", estimate_text(scores))),
        read_sources(written("s.csv", "source,architecture,parameters\na,unet,1\nb,unet,2\nc,vit,3\ne,vit,4\n")),
        resamples=20,
        seed=0,
    )
    rows = files.study.agreement_targets("x")
    for target in TARGETS:
        x, y = ([values[key] for key in keys] for values, keys in (
            (scores, [("x", s, target) for s in SOURCES]), (DICE, [(s, target) for s in SOURCES])))  # fmt: skip
        assert rows.loc[target, "weighted_kendall"] == pytest.approx(weighted_kendall(x, y), abs=EXACT)
    means = files.study.agreement_of()
    assert means.loc["same", "reason"] == "undefined on liver, lung"
    assert files.study.agreement_targets("same")["reason"].tolist() == ["all scores are alike"] * 2
    assert means.loc["parameters", "reason"] == "undefined on liver, lung"  # d has no row in the file
    assert {"static_leaderboard", "family", "random"} <= set(means.index)
    assert not {"source_dice", "source_cases", "pretrained"} & set(means.index)
    text = " ".join(files.notes)
    assert "The truth is F1;" in text
    assert "Sources without a row in the file of sources: d." in text
    assert "Sources of the file of sources that are not compared: e." in text


def test_without_estimates_there_are_the_controls_and_a_report(written, tmp_path):
    facts = command(tmp_path, f"table='{written('t.csv', truth_text(DICE))}'")
    assert facts["estimates"] == {}
    assert facts["controls"]["static_leaderboard"]["weighted_kendall"] == pytest.approx(
        facts["static_leaderboard"]["weighted_kendall"], abs=EXACT
    )
    assert (tmp_path / "audit" / "report.html").is_file()


def test_the_example_runs_and_its_report_is_that_of_the_files(tmp_path, capsys):
    prepare_config()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        run(compose("audit", [f"output_dir='{tmp_path}'", "example=true"]))
    line = capsys.readouterr().out.splitlines()[-1]
    names = re.findall(r"(table|estimates|sources)=(\S+)", line)
    facts = command(tmp_path, *(f"{name}='{path}'" for name, path in names))
    assert set(facts["estimates"]) == {"my_estimate", "another"}
    assert {"parameters", "pretrained", "family", "static_leaderboard"} <= set(facts["controls"])
    assert facts["estimates"]["my_estimate"]["by_group"]["pearson"] is not None
    assert facts["reliability"]["kendall"] > 0
    folder = tmp_path / "audit"
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "All estimates and controls are compared on the same 21 pairs of 7 sources and 3 targets." in page
    assert "MLflow" not in page
    assert {"figures.pdf", "table1.tex"} <= {path.name for path in folder.iterdir()}
    assert {"agreement.csv", "table.tex", "dice.png"} <= {path.name for path in (folder / "study" / "truth").iterdir()}


def test_a_table_of_one_target_is_compared_without_a_leaderboard(written, tmp_path, capsys):
    table = written("t.csv", truth_text({(s, "liver"): DICE[s, "liver"] for s in SOURCES}))
    estimates = written("e.csv", estimate_text({("x", s, "liver"): i for i, s in enumerate(SOURCES)}))
    facts = command(tmp_path, f"table='{table}'", f"estimates='{estimates}'")
    assert facts["estimates"]["x"]["kendall"] == pytest.approx(1)
    assert set(facts["controls"]) == {"random"}
    assert facts["static_leaderboard"]["kendall"] is None
    shown = " ".join(capsys.readouterr().out.split())
    assert "Agreement with the truth: liver, 4 sources each" in shown
    assert "There is one target, so there is no static leaderboard and no mean over targets." in shown


TRUTH = "source,target,dice\na,liver,0.5\nb,liver,0.6\nc,liver,0.7\n"
SCORES = "source,target,metric,score\na,liver,x,1\nb,liver,x,2\nc,liver,x,3\n"


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (TRUTH + "d,liver,much\n", {}, "t.csv: dice must be a fraction or a percentage, got much on line 5"),
        (TRUTH + "d,liver,-0.1\n", {}, "t.csv: dice must be a fraction or a percentage, got -0.1 on line 5"),
        (TRUTH + "d,liver,101\n", {}, "t.csv: dice must be a fraction or a percentage, got 101 on line 5"),
        (TRUTH + "d,liver,55\n", {}, "got 1 of 4 values above 1, the first on line 5; if they are percent, say scale="),
        (TRUTH + "d,liver,55\n", {"scale": "fraction"}, "dice must be a fraction, as scale=fraction says, got 55"),
        (TRUTH + "d,liver,0.1,0.2\n", {}, "a row must have the 3 values of the header, got 4 on line 5"),
        (TRUTH + "\n\na,liver,0.4\n", {}, "contain each source, target once, got source a, target liver again"),
        (TRUTH, {"measure": "f1"}, "must have the columns source, target, f1, missing f1"),
        (TRUTH, {"scale": "permille"}, "scale must be one of auto, fraction, percent, got permille"),
        ("source,target,dice,f1\na,liver,0.5,0.4\n", {}, "measure must name the column of the values in "),
        ("source,target,dice,dice\na,liver,0.5,0.4\n", {}, "must have each column once, got 'dice' again"),
        ("source,target,dice\na,liver,\n", {}, "dice must have a value in at least one row, got none"),
        ("source,target,group,dice\na,liver,x,1\nb,liver,y,1\n", {}, "group must be the same in all rows of a target"),
        ("", {}, "must be a CSV file with a header, got"),
    ],
)  # fmt: skip
def test_a_bad_truth_names_file_line_rule_and_value(written, text, settings, message):
    with pytest.raises(InputError, match=re.escape(message)):
        read_table(written("t.csv", text), **settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SCORES + "d,liver,x,inf\n", "e.csv: score must be a finite number, got inf on line 5"),
        (SCORES + "d,,x,1\n", "e.csv: target must be given in every row, got 1 empty, the first on line 5"),
        (SCORES + "a,liver,x,1\n", "once, got source a, target liver, metric x again on line 5"),
        (SCORES + "a,liver,random,1\n", "e.csv: metric must not be the name of a control, got random on line 5"),
        ("source,target,score\n", "must contain at least one row, got none"),
        ("source,target,score\na,liver,1\n", "must have the columns source, target, metric, score, missing metric"),
        ("source,target,metric,score\na,lung,x,1\n", "at least 3 sources with a value and every score on one target"),
    ],
)
def test_bad_estimates_name_file_line_rule_and_value(written, text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        pairs_of(read_table(written("t.csv", TRUTH)), read_estimates(written("e.csv", text)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("source,pretrained\na,perhaps\n", "s.csv: pretrained must be true or false, got perhaps on line 2"),
        ("source,parameters\na,many\n", "s.csv: parameters must be a number, got many on line 2"),
        ("source,parameters\na,-1\n", "s.csv: parameters must not be negative, got -1 on line 2"),
        ("source,parameters\na,1\na,1\n", "must contain each source once, got source a again on line 3"),
        (
            "source,colour\na,red\n",
            "must have at least one of the columns architecture, parameters, pretrained, got none",
        ),
    ],
)
def test_bad_sources_name_file_line_rule_and_value(written, text, message):
    with pytest.raises(InputError, match=re.escape(message)):
        read_sources(written("s.csv", text))


def test_values_are_read_as_a_spreadsheet_writes_them(written):
    text = (
        "\ufeffsource, target ,seed,F1\r\n a ,liver,1,50\r\n,,,\r\nb,liver,1, nan\r\nb,liver,2,70\r\na,liver,2,60\r\n"
    )
    table = read_table(written("t.csv", text))
    assert (table.measure, table.percent) == ("F1", True)
    assert table.truth["dice"].dropna().tolist() == [0.5, 0.7, 0.6]
    assert table.missing.to_numpy().tolist() == [["b", "liver", "F1 is empty with seed 1"]]


def test_a_case_that_lacks_a_value_is_no_zero(written):
    rows = [(s, c, "" if (s, c) == ("a", 1) or c == 2 else 0.5) for s in "ab" for c in range(3)]
    table = read_table(
        written("t.csv", "source,target,case,dice\n" + "".join(f"{s},liver,{c},{v}\n" for s, c, v in rows))
    )
    # case 2 has no value anywhere and counts for nobody; a lacks case 1, which b has, so it has no mean
    assert table.truth.set_index("source")["dice"].to_dict() == pytest.approx({"a": np.nan, "b": 0.5}, nan_ok=True)


def test_the_example_has_what_the_reader_knows(tmp_path):
    truth, estimates, sources = write_example(tmp_path)
    table = read_table(str(truth))
    assert table.groups == {"liver": "abdomen", "spleen": "abdomen", "prostate": "pelvis"}
    assert set(table.truth["seed"]) == {0, 1}
    assert pd.read_csv(estimates)["metric"].nunique() == 2
    assert set(read_sources(str(sources))["length"]) == {"scratch", "pretrained"}
