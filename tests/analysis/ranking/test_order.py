"""The order of a pool: by hand, by symmetry, and by what resamples that say one thing must say."""

import json
import math
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from analysis.ranking.order import Scores, rank_sources, share_first, standing
from analysis.ranking.page import png, ranking_figure, ranking_page
from analysis.ranking.tables import (
    Account,
    agreement_table,
    cost_table,
    order_table,
    ranking_csv,
    ranking_json,
    ranking_tables,
)

NAN = math.nan
SOURCES = ("a", "b", "c")


def scores(*, draws=None, kind="bootstrap", cases=8, **metrics):
    made = {name: np.array(values, dtype=float) for name, values in metrics.items()}
    return Scores(
        SOURCES, made, {name: np.array(rows, dtype=float) for name, rows in (draws or {}).items()}, kind, cases
    )


@pytest.fixture
def clear():
    """Two metrics of one mind in all of 40 resamples."""
    rows = np.array([[3.0, 2.0, 1.0]] * 40)
    return rank_sources(scores(ccfv=[3, 2, 1], knn=[30, 20, 10], draws={"ccfv": rows, "knn": 10 * rows[:20]}))


@pytest.fixture
def account():
    return Account(
        task="Liver & more",
        costs=pd.DataFrame(
            [
                {"source": name, "architecture": "unet", "parameters": 1e6, "window": "8x8x8", "seconds": 1.0,
                 "peak_memory_mb": 10.0, "fine_tuning_seconds": 7200.0, "fine_tuning_reason": ""}
                for name in SOURCES
            ]
        ),
        reasons={("c", "knn"): "too few points", ("b", "knn"): "too few points"},
        notes={"a": ["its one input sees the mean of the target's 2 channels"]},
        skipped={"d": "no network of <this> kind"},
        where="ran on cpu",
        fine_tuning="an estimate",
        resampling="95% intervals",
    )  # fmt: skip


def test_standing_by_hand():
    # a beats both by the first metric and ties with b by the second: (1 + 0.75) / 2; c is beaten by all
    found = standing(np.array([[3.0, 2.0, 1.0], [5.0, 5.0, 4.0]]))
    assert found.tolist() == [0.875, 0.625, 0.0]


def test_a_source_without_a_score_is_compared_by_the_others():
    found = standing(np.array([[3.0, NAN, 1.0], [1.0, 2.0, 3.0]]))
    assert found.tolist() == [0.5, 0.5, 0.5]
    assert np.isnan(standing(np.array([[1.0, NAN]]))).all()


def test_standing_does_not_depend_on_scales():
    random = np.random.default_rng(0)
    values = random.normal(size=(4, 7))
    assert standing(values) == pytest.approx(standing(np.exp(values) * 100))
    # every comparison is won by one of the two
    assert standing(values).mean() == pytest.approx(0.5)


def test_the_share_of_firsts():
    drawn = np.array([[1.0, 2.0, NAN], [2.0, 2.0, 0.0], [NAN, NAN, NAN], [NAN, 1.0, 0.5]])
    assert share_first(drawn) == pytest.approx([0.5 / 3, 2.5 / 3, 0.0])
    assert np.isnan(share_first(np.full((2, 2), NAN))).all()


def test_a_clear_order_is_called_so(clear):
    assert clear.table["source"].tolist() == ["a", "b", "c"]
    assert clear.table["standing_first"].tolist() == [1.0, 0.0, 0.0]
    assert clear.level == ["a"]
    assert clear.draws == 20  # those that both metrics have
    assert clear.verdict.startswith("a ranks first in 100% of 20 resamples of the cases")


def test_sources_that_overtake_each_other_cannot_be_told_apart():
    rows = np.array([[3.0, 2.0, 1.0]] * 30 + [[2.0, 3.0, 1.0]] * 10)
    found = rank_sources(scores(ccfv=[3, 2, 1], draws={"ccfv": rows}))
    assert found.level == ["a", "b"]
    assert found.verdict.startswith("a and b cannot be told apart: a ranks first in 75% of 40 resamples")


def test_rare_overtaking_is_not_enough():
    rows = np.array([[3.0, 2.0, 1.0]] * 399 + [[2.0, 3.0, 1.0]])
    assert rank_sources(scores(ccfv=[3, 2, 1], draws={"ccfv": rows})).level == ["a"]


def test_leaving_one_out_gives_the_range_with_the_score_itself():
    rows = np.array([[2.0, 1.0, 0.0], [2.5, 1.0, 0.0]])
    found = rank_sources(scores(ccfv=[3, 2, 1], draws={"ccfv": rows}, kind="leave-one-out", cases=2), by="ccfv")
    assert found.table.loc[0, ["ccfv_low", "ccfv_high"]].tolist() == [2.0, 3.0]
    assert "sets that leave one case out" in found.verdict


def test_one_case_says_nothing_of_sureness():
    found = rank_sources(scores(ccfv=[1, 2, 3], kind="none", cases=1))
    assert found.first == "c"
    assert found.verdict == "c ranks first. How certain this is cannot be estimated from 1 case(s)."
    assert found.table["ccfv_low"].isna().all()


def test_ties_share_a_place_and_an_undefined_source_has_none():
    found = rank_sources(scores(ccfv=[2, 2, NAN]), by="ccfv")
    assert found.table["place"].tolist()[:2] == [1, 1]
    assert pd.isna(found.table["place"].iloc[2])
    assert found.level == ["a", "b"]


def test_one_metric_may_decide():
    both = scores(ccfv=[3, 2, 1], knn=[1, 2, 3])
    assert rank_sources(both, by="knn").first == "c"
    with pytest.raises(ValueError, match="`by` must be one of ccfv, knn, standing, got dice"):
        rank_sources(both, by="dice")


def test_no_source_is_no_ranking():
    with pytest.raises(ValueError, match="`scores` must contain at least one source"):
        rank_sources(Scores((), {}, {}, "none", 1))


def test_agreement_of_metrics():
    found = rank_sources(scores(ccfv=[3, 2, 1], knn=[1, 2, 3], gbc=[NAN, 1, 2])).agreement
    assert found.loc["ccfv", "knn"] == -1.0
    assert found.loc["ccfv", "ccfv"] == 1.0
    assert math.isnan(found.loc["ccfv", "gbc"])  # of two sources


def test_csv_and_json_hold_every_source_once(clear, account):
    table = pd.read_csv(pd.io.common.StringIO(ranking_csv(clear, account)))
    assert table["source"].tolist() == ["a", "b", "c", "d"]
    assert table["skipped"].tolist()[3] == "no network of <this> kind"
    content = json.loads(ranking_json(clear, account, {"seed": 0}))
    assert [line["source"] for line in content["ranking"]] == ["a", "b", "c"]
    assert content["skipped"] == {"d": "no network of <this> kind"}
    assert content["cannot_be_told_apart"] == ["a"]
    assert content["resamples"].keys() == {"kind", "number", "description"}


def test_json_is_strict_where_figures_are_undefined(account):
    content = json.loads(ranking_json(rank_sources(scores(ccfv=[3, NAN, 1])), account, {}), parse_constant=pytest.fail)
    assert content["ranking"][2]["ccfv"] is None


def test_notes_say_what_holds_for_whom(clear, account):
    notes = order_table(clear, account).notes
    assert "c, b: knn: too few points" in notes
    assert "d: skipped: no network of <this> kind" in notes
    assert notes[0] == clear.verdict


def test_what_the_choice_of_metrics_rests_on_is_written_once(clear, account):
    chosen = replace(account, metric_choice="These are the default metrics & no others.")
    assert order_table(clear, chosen).notes.count(chosen.metric_choice) == 1
    assert json.loads(ranking_json(clear, chosen, {}))["metric_choice"] == chosen.metric_choice
    assert ranking_page(clear, chosen).count("These are the default metrics &amp; no others.") == 1
    assert "" not in order_table(clear, account).notes
    assert json.loads(ranking_json(clear, account, {}))["metric_choice"] == ""


def test_intervals_stand_in_the_wide_table_alone(clear, account):
    narrow, wide = (ranking_tables(clear, account, intervals=chosen)[0].groups[0][0] for chosen in (False, True))
    assert narrow[4] == "3"
    assert wide[4] == "3 [3, 3]"


def test_a_cost_that_is_not_known_says_why_and_is_in_no_sum(account):
    costs = account.costs.assign(
        fine_tuning_seconds=[7200.0, NAN, NAN], fine_tuning_reason=["", "out of memory", "out of memory"]
    )
    shown = cost_table(replace(account, costs=costs))
    assert [row[-1] for row in shown.groups[0]] == ["2.0 h", "not known", "not known"]
    assert shown.groups[1][0][-1] == "2.0 h (1 of 3 sources)"
    assert shown.notes[0] == "b, c: the cost of fine-tuning is not known: out of memory"
    assert cost_table(account).groups[1][0][-1] == "6.0 h"
    none = cost_table(replace(account, costs=costs.assign(fine_tuning_seconds=NAN)))
    assert none.groups[1][0][-1] == "not known"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([3, NAN, NAN], "Undefined: no two estimates have different scores for at least three sources."),
        ([2, 2, 2], "Undefined: no two estimates have different scores for at least three sources."),
        ([3, 1], "Agreement needs at least three scored sources; there are 2."),
        ([3], "Agreement needs at least three scored sources; there is 1."),
    ],
)
def test_agreement_that_is_undefined_throughout_is_a_sentence(values, sentence):
    names, metrics = [f"s{place}" for place in range(len(values))], {"ccfv": np.array(values, dtype=float)}
    shown = agreement_table(rank_sources(Scores(names, metrics, {}, "none", 1)))
    assert (shown.columns, shown.groups, shown.notes) == ((), (), (sentence,))


def test_agreement_that_is_partly_defined_is_a_table():
    shown = agreement_table(rank_sources(scores(ccfv=[3, 2, 1], gbc=[NAN, 1, 2])))
    assert len(shown.groups[0]) == 3


def test_the_picture_takes_any_name(tmp_path):
    named = Scores((r"a$\nothing$b", "c$"), {"ccfv": np.array([1.0, 2.0])}, {}, "none", 1)
    (tmp_path / "picture.png").write_bytes(png(ranking_figure(rank_sources(named))))


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self.addresses = [], []

    def handle_starttag(self, tag, attrs):
        self.found.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]


def test_the_page_needs_nothing_beside_it(clear, account):
    page = ranking_page(clear, account, case=png(ranking_figure(clear)), case_name="one")
    tags = Tags()
    tags.feed(page)
    assert tags.found.count("table") == 3
    assert [address[:22] for address in tags.addresses] == ["data:image/png;base64,"] * 2
    assert "script" not in tags.found
    assert "Liver &amp; more" in page
    assert "no network of &lt;this&gt; kind" in page


@pytest.mark.parametrize("draws", [{}, {"ccfv": [[1, 2, 3]] * 3}])
def test_the_picture_has_a_panel_for_each_metric(draws, tmp_path):
    figure = ranking_figure(rank_sources(scores(ccfv=[3, 2, NAN], draws=draws)))
    shown = [panel.get_title() for panel in figure.axes if panel.get_visible()]
    assert shown[-2:] == ["standing", "ccfv"]
    assert len(shown) == (3 if draws else 2)
    (tmp_path / "picture.png").write_bytes(png(figure))
    assert np.ptp(np.asarray(Image.open(tmp_path / "picture.png"))[..., :3]) > 0
