"""The report of the planted study: says what was planted, is whole in one file, and knows its limits."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from matplotlib import image as mpimg

from analysis.report import ReportEvidence, drawings, page, template_digest
from analysis.report.evidence import (
    WIDEST,
    blocks,
    metric_notes,
    own_notes,
    prediction_pictures,
    provenance_facts,
    settings_text,
    task_pictures,
)
from analysis.report.gallery import all_panels, clouds
from analysis.report.large_study import LargeReport, LargeStudy
from analysis.report.sections import comparison_table, limits, source_table, stability_tables, tiles
from analysis.tables.study_tables import overview_table
from analysis.tables.verdict import verdict
from benchmark.tracking.records import Row


class Page(HTMLParser):
    """Images, links, texts and ids of a page."""

    VOID = ("meta", "link", "img", "line", "circle", "br")

    def __init__(self, text):
        super().__init__()
        self.images, self.links, self.ids, self.loaded, self.open, self.words = [], [], [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids += [found["id"]] if "id" in found else []
        self.images += [found] if tag == "img" else []
        self.links += [found["href"]] if tag == "a" else []
        self.loaded += [found[name] for name in ("src", "srcset", "data") if name in found]
        self.loaded += [found["href"]] if tag in ("link", "use", "image") else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def html(report):
    return (report / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def read(html):
    return Page(html)


def bare(study, evidence=None, **changes):
    """A page without figures, which cost the most time."""
    return page(study, replace(evidence or ReportEvidence(suite="planted"), **changes), [])


# --- what it says ---


def test_the_verdict_comes_first(study, read):
    sentences = verdict(study).sentences
    assert len(sentences) == 4
    places = [read.text.index(part) for part in (*sentences, "Agreement with the truth")]
    assert places == sorted(places)


def test_the_planted_pool_is_told_exactly(study, read):
    """A metric is the truth plus noise, one its negative, one constant, one has a gap; the leaderboard is perfect."""
    findings = verdict(study).findings
    assert findings["good"].startswith("agrees with the truth")
    assert findings["bad"].startswith("ranks the sources in reverse")
    assert "all scores are alike" in findings["constant"]
    assert "no score for 1 of 12 sources: s03 (class 1 in fewer than two cases)" in findings["gap"]
    assert "as well as a perfect predictor would" in findings["static_leaderboard"]
    for name in ("good", "bad", "constant", "gap", "static_leaderboard"):
        assert f"{name} {' '.join(findings[name].split())}" in read.text


def test_every_metric_and_control_has_its_row_with_the_figures_of_the_study(study):
    table = overview_table(study)
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for group in table.groups for row in group}
    means = study.agreement_of()
    assert list(rows) == list(means.index)
    for name, row in rows.items():
        value = means.loc[name, "weighted_kendall"]
        assert row["weighted Kendall [95%]"].split()[0] == ("–" if np.isnan(value) else f"{value:.2f}")  # noqa: RUF001
        assert row["p (Holm)"] == "–" or row["p (Holm)"].startswith("<") or 0 <= float(row["p (Holm)"]) <= 1  # noqa: RUF001
    assert rows["good"]["top-1 regret"] == f"{100 * means.loc['good', 'top1_regret']:.1f}"
    assert rows["static_leaderboard"]["beats static"] == ""
    beats = study.comparison("bad", "static_leaderboard")["probability"]
    assert rows["bad"]["beats static"] == f"{100 * beats:.0f}%"
    assert rows["gap"]["NaN"] == "1"


def test_tiles_name_the_best_estimate_and_its_share_of_the_ceiling(study):
    found = {tile.label: tile for tile in tiles(study)}
    best = study.agreement_of().index[0]
    assert found[f"Best estimate: {best}"].value.startswith(f"{study.agreement_of().iloc[0]['weighted_kendall']:.2f} [")
    assert found["Ceiling"].value == f"{study.reliability_of()['weighted_kendall_ceiling']:.2f}"
    assert "CC-FV" not in found
    assert set(found) >= {"Reliability of the truth", "Static leaderboard"}


def test_every_control_is_compared_with_the_static_leaderboard(study):
    table = comparison_table(study, "static_leaderboard")
    [rows] = table.groups
    assert {row[0] for row in rows} >= {"good", "bad", "random", "parameters", "source_dice"}
    told = dict(zip(table.columns, next(row for row in rows if row[0] == "bad"), strict=True))
    assert told["difference [95%]"].startswith("-1.")
    assert comparison_table(study, "ccfv").groups == ((),)


def test_sub_pools_ranks_and_gaps_are_shown(study, read):
    titles = [table.title for table in stability_tables(study)]
    assert titles[2:] == [
        "Within sub-pools: weighted Kendall",
        "Ranks of the sources by the truth (1 is best)",
        f"Missing scores: {len(study.gaps)}",
    ]
    assert "one source left out" in read.text
    assert "for random ranks" in read.text
    assert "class 1 in fewer than two cases" in read.text


def test_the_pool_is_described_best_first(study):
    [rows] = source_table(study).groups
    assert len(rows) == 12
    assert rows[0][0] == "s11"
    scratch = next(row for row in rows if row[0] == "s00")
    assert scratch[5] == "–"  # noqa: RUF001 -- a network from scratch has no Dice of its own
    assert scratch[-1].startswith("-0.")


def test_limits_are_plain(study, evidence, read):
    told = list(limits(study, evidence))
    assert told[0] == "A planted study."
    assert "2 of 5 targets (liver, spleen) derive from one scan (abdomen)." in told[1]
    assert any(line.startswith("Fine-tuning tuned only: last.") for line in told)
    assert any("2 sources are from scratch or hardly trained (s00, s01)" in line for line in told)
    assert all(" ".join(line.split()) in read.text for line in told)
    alone = list(limits(replace(study, scans={}, tune="all"), ReportEvidence(suite="planted")))
    assert not any("derive from one scan" in line for line in alone)
    assert any(line.startswith("Fine-tuning tuned all weights") for line in alone)


def test_the_page_calls_the_truth_by_its_measure(study):
    shown = Page(bare(replace(study, measure="auc", truth_from="t.csv"))).text.partition(
        "Agreement, truth and controls"
    )
    assert "The truth: AUC after fine-tuning" in shown[0]
    assert "AUC points lost" in shown[0]
    assert "Dice" not in shown[0]  # only the docstrings of methods say so


def test_text_from_outside_is_escaped(html):
    assert "best test case &lt;of&gt; s11" in html
    assert "<of>" not in html


def test_short_fine_tuning_is_in_every_table_and_caption_by_its_name(trained):
    made = {one.name: one for one in drawings(trained, ReportEvidence(suite="planted"))}
    assert "judged by the other seeds, mean over the seeds. The front includes them." in made["cost"].caption
    assert "short fine-tuning, 1/8 20.00" in made["cost"].alt
    left_out = "Short fine-tuning is left out; the table of differences from CC-FV has it."
    assert made["critical_difference"].caption.endswith(left_out)
    assert "short fine-tuning, 1/2" in made["scatter_means_1"].alt  # 17 estimates and controls on 5 targets
    html = page(trained, ReportEvidence(suite="planted"), [made["cost"]])
    text = Page(html).text
    assert "fine_tuning_" not in text
    tables = [overview_table(trained), *stability_tables(trained)[:3]]
    assert all("short fine-tuning, 1/4" in {row[0] for row in table.rows} for table in tables)
    assert verdict(trained).sentences[2] in text
    assert "judged by the other seeds:" in text  # the note with the formula


# --- one file ---


def test_the_page_asks_for_nothing_outside_itself(html, read):
    assert read.loaded
    assert all(address.startswith("data:") for address in read.loaded)
    assert not re.search(r"@import|url\((?!data:)", html)
    assert read.open == []


def test_links_lead_somewhere(read):
    inside = [link[1:] for link in read.links if link.startswith("#")]
    assert set(inside) <= set(read.ids)
    assert len(set(read.ids)) == len(read.ids)
    outside = [link for link in read.links if not link.startswith("#")]
    assert "https://arxiv.org/abs/2307.11958" in outside
    assert all(re.match(r"https://(arxiv\.org/abs|doi\.org)/", link) for link in outside)


def test_every_image_says_what_it_shows(study, read):
    assert all(len(image["alt"]) > 10 for image in read.images)
    agreement = study.agreement_targets("good")["weighted_kendall"]
    [shown] = [image for image in read.images if image["alt"].startswith("good against Dice")]
    assert f"lung {agreement['lung']:.2f}" in shown["alt"]


def test_all_files_are_there(report, study):
    below = {path.name for path in (report / "study" / "planted").iterdir()}
    assert below >= {
        "agreement.csv",
        "scores.csv",
        "truth.csv",
        "comparisons.csv",
        "stability.csv",
        "table.md",
        "table.tex",
    }
    agreement = pd.read_csv(report / "study" / "planted" / "agreement.csv")
    np.testing.assert_allclose(agreement["kendall"], study.agreement["kendall"].astype(float))
    assert (report / "figures.pdf").read_bytes().startswith(b"%PDF")
    assert (report / "table1.tex").read_text().startswith(r"\begin{table}")
    assert "rungs.csv" not in below
    truth = pd.read_csv(report / "study" / "planted" / "truth.csv")
    assert truth.groupby(["target", "source"])["dice"].mean()["lung", "s07"] == pytest.approx(
        next(pool for pool in study.pools if pool.target == "lung").mean[7]
    )


def test_the_templates_digest_follows_their_text(monkeypatch, tmp_path):
    before = template_digest()
    monkeypatch.setattr("analysis.report.files.TEMPLATES", tmp_path)
    (tmp_path / "report.css").write_text("body {}")
    assert template_digest() != before


def test_a_page_that_is_too_large_is_told(monkeypatch):
    def large(study, evidence, *, output):
        assert len(study.pools) == 2
        (output / "report.html").write_bytes(bytes(2**18))

    monkeypatch.setattr("analysis.report.large_study.write_report", large)
    small = LargeStudy(sources=4, targets=2, metrics=2, seeds=2, cases=6, resamples=20)
    with pytest.raises(ValueError, match=r"the page has 0\.2 MB, more than `page_megabytes` \(0\.1 MB\)"):
        LargeReport(small, page_megabytes=0.1)()


# --- figures ---


@pytest.fixture
def many(study, monkeypatch):
    """The study with three metrics, which are too many for a page of ten panels."""
    monkeypatch.setattr("analysis.report.gallery.MOST_PANELS", 10)
    return replace(study, agreement=study.agreement[study.agreement["metric"].isin(("good", "gap", "random"))])


def test_up_to_eighty_panels_every_metric_and_target_is_drawn(study, read, report):
    assert all_panels(study)
    alts = [image["alt"] for image in read.images]
    for name in study.agreement_of().index:
        assert sum(alt.startswith(f"{name} against Dice on each target.") for alt in alts) == 1
    for start in (
        "Bars of",
        "Critical-difference",
        "Heat map of the Dice",
        "Heat maps of the ranks",
        "Agreement against",
    ):
        assert sum(alt.startswith(start) for alt in alts) == 1
    assert sum("of each term of CC-FV" in alt or "Consistency against variety" in alt for alt in alts) == 2
    pages = len(re.findall(rb"/Type /Page\b", (report / "figures.pdf").read_bytes()))
    assert pages == len(alts) - 2  # the two pictures are no figures


def test_a_metric_that_is_undefined_somewhere_is_not_ranked_but_named(study):
    assert set(study.differences.left_out) >= {"constant", "gap", "late"}
    assert "best_in_hindsight" not in study.differences.agreement


def test_above_eighty_panels_means_are_drawn_and_all_are_in_the_pdf(many):
    assert not all_panels(many)
    scatters = [one for one in drawings(many, ReportEvidence(suite="planted")) if one.section == "scatter"]
    assert [one.name for one in scatters if one.on_page] == ["scatter_means_1"]
    for_print = [one for one in scatters if not one.on_page]
    assert [len(one.figure.axes) for one in for_print] == [10, 5]


def test_above_eighty_panels_any_metric_can_be_chosen(many):
    html = bare(many)
    assert "metric" in Page(html).ids
    points = json.loads(re.search(r'id="clouds">(.*?)</script>', html).group(1))
    assert [metric["name"] for metric in points["metrics"]] == list(many.agreement_of().index)
    gap = next(metric for metric in points["metrics"] if metric["name"] == "gap")
    liver = [target["name"] for target in points["targets"]].index("liver")
    assert gap["scores"][liver][3] is None
    assert gap["agreement"][liver] is None


def test_too_many_points_stay_in_the_csv(many, monkeypatch):
    monkeypatch.setattr("analysis.report.gallery.MOST_POINTS", 100)
    assert clouds(many) == {}
    assert all(one.on_page for one in drawings(many, ReportEvidence(suite="planted")))
    assert "scores.csv has every score." in Page(bare(many)).text


def test_a_script_in_a_name_stays_a_name(study, monkeypatch):
    monkeypatch.setattr("analysis.report.files.all_panels", lambda study: False)
    names = {"good": "</script><script>alert(1)</script>"}
    corrupt = replace(
        study,
        scores=study.scores.replace({"metric": names}),
        agreement=study.agreement.replace({"metric": names}),
        comparisons=study.comparisons.replace({"metric": names}),
        stability=study.stability.replace({"metric": names}),
    )
    assert "<script>alert" not in bare(corrupt)


# --- what stands beside the study ---


def test_notes_come_from_the_docstrings():
    notes = {note.name: note for note in metric_notes({"ccfv": {"_target_": "benchmark.ccfv.CCFV"}})}
    assert notes["ccfv"].title == "CC-FV by the paper's formula."
    assert any(block.kind == "formula" and "log(V_l / C_l)" in block.text for block in notes["ccfv"].blocks)
    assert any("arXiv 2307.11958" in block.text for block in notes["ccfv"].blocks)
    assert all(note.title and note.blocks for note in own_notes())


def test_indented_lines_are_formulas():
    found = blocks("One\ntwo.\n\n    a = 1\n      b\n\nLast.")
    assert [(block.kind, block.text) for block in found] == [
        ("text", "One two."), ("formula", "a = 1\n  b"), ("text", "Last."),
    ]  # fmt: skip


class Downloads:
    """A store that hands out the files of a folder."""

    def __init__(self, files):
        self.files = files

    def __call__(self, run, path, folder):
        place = folder / path
        for name, write in self.files[run].items():
            if name.startswith(path):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                write(folder / name)
        place.mkdir(parents=True, exist_ok=True) if "." not in path else None
        return place


def wide(path):
    mpimg.imsave(path, np.zeros((30, 2 * WIDEST, 3)))


def test_pictures_are_those_of_the_best_source_and_small(study, tmp_path):
    files = {
        "a": {"pictures/worst_case_3_dice0.400.png": wide, "pictures/best_case_1_dice0.700.png": wide},
        "b": {"pictures/best_case_1_dice0.100.png": wide},
        "p": {"pictures/liver.png": wide},
    }
    params = {"target": "liver", "tune": "last", "seed": "0"}
    rows = [
        Row("truth", "k1", "", params=params | {"source": "s11"}, run="a"),
        Row("truth", "k2", "", params=params | {"source": "s05"}, run="b"),
    ]
    pools = [pool for pool in study.pools if pool.target == "liver"]
    assert pools[0].sources[int(pools[0].mean.argmax())] == "s11"
    found = prediction_pictures(Downloads(files), rows, pools, tmp_path)
    assert [one.caption for one in found] == [
        "liver, best test case of its best source s11: Dice 0.700",
        "liver, worst test case of its best source s11: Dice 0.400",
    ]
    assert all(one.address.startswith("data:image/webp;base64,") and len(one.address) < 2000 for one in found)
    row = Row("prepare", "k", "", params={"task": "liver"}, metrics={"cases_train": 5.0, "cases_test": 24.0}, run="p")
    [task] = task_pictures(Downloads(files), [row], tmp_path)
    assert task.caption == "liver: 5 train, 24 test cases"


def test_provenance_names_commits_machines_data_and_seeds(tmp_path):
    job = {
        "environment": {
            "python": "3.11.7",
            "packages": {"torch": "2.13"},
            "processor": "CPU",
            "cores": 2,
            "machine": "x",
        }
    }
    store = Downloads({run: {"job.json": lambda path: path.write_text(json.dumps(job))} for run in "ab"})
    tags = {"git_commit": "0123456789abcdef", "git_dirty": "false"}
    rows = {
        "prepare": [Row("prepare", "k", "", params={"task": "liver"}, tags={"data_digest": "f" * 64})],
        "truth": [
            Row("truth", "k", "", params={"seed": seed}, metrics={"seconds": 90.0}, tags=tags | {"host": host}, run=run)
            for seed, host, run in (("0", "one", "a"), ("10", "two", "b"), ("2", "two", "b"))
        ],
        "score": [Row("score", "k", "", metrics={"seconds/pass": 60.0, "seconds/second_pass": 30.0}, run="a")],
    }
    told = {title: dict(facts) for title, facts in provenance_facts(store, rows, tmp_path).items()}
    assert told["Runs"] == {
        "prepare": "1 runs", "truth": "3 runs, 4.5 min of computing", "score": "1 runs, 1.5 min of computing"
    }  # fmt: skip
    assert told["Code"]["commit 0123456789ab"] == "3 runs"
    assert told["Packages and hardware, machine 2"]["torch"] == "2.13"
    assert told["Data, by SHA-256 (first digits)"] == {"liver": "f" * 12}
    assert told["Seeds"] == {"truth seeds": "0, 2, 10"}
    assert "one" not in str(told)  # a machine's name is nobody's business


def test_settings_tell_what_was_measured_and_not_where():
    told = settings_text({"suite": {"name": "scans"}, "tracking": {"uri": "postgresql://user:secret@host"}, "seed": 0})
    assert told == "suite:\n  name: scans\nseed: 0\n"
