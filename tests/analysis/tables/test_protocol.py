"""The protocol: departures are marked in words, bad entries are named, and the docs show what the config says."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from analysis.report import ReportEvidence, page
from analysis.tables.protocol import protocol_markdown, protocol_table, read_protocol, recorded_otherwise
from benchmark.errors import InputError
from benchmark.jobs.cli import CONF, prepare_config, resolved
from benchmark.tracking.records import Row

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "paper.md"
BEGIN, END = "<!-- protocol -->\n", "<!-- /protocol -->"
ENTRIES = [
    {"fact": "steps", "paper": 250000, "ours": 1000, "why": "a <small> trial"},
    {"fact": "batch", "paper": 2, "ours": 2},
    {"fact": "seeds", "paper": "not mentioned", "ours": [0, 1], "why": "so one", "departure": False},
    {"fact": "cases", "paper": "open", "ours": "a seeded fifth", "departure": True},
    {"fact": "window", "paper": [64, 144], "ours": [32, 32]},
]


def test_departures_are_marked_in_words():
    table = protocol_table(read_protocol(ENTRIES))
    assert table.rows == [
        ("steps", "250,000", "1,000", "Departure: a <small> trial"),
        ("batch", "2", "2", ""),
        ("seeds", "not mentioned", "0, 1", "so one"),
        ("cases", "open", "a seeded fifth", "Departure"),
        ("window", "64, 144", "32, 32", "Departure"),
    ]
    assert table.notes[0].startswith("3 of 5 facts depart from the paper")
    assert protocol_markdown(ENTRIES).splitlines()[0].split("|")[1:3] == [" Fact   ", " The paper says   "]


def test_runs_of_other_settings_are_named():
    stated = {
        "truth": {"trainer.tune": "all", "trainer.amp": "None", "trainer.folder": "a", "trainer.budget.steps": "100"},
        "score": {"stream.window": "[64, 64]"},
        "pretrain": {"steps": "9"},
    }
    agrees = {
        "truth": [
            Row("truth", "1", "", {"trainer.tune": "all", "trainer.amp": "float32", "trainer.budget.steps": "100"})
        ],
        "score": [Row("score", "2", "", {"stream.window": "[64, 64]", "stream.batch": "4"})],
        "pretrain": [Row("pretrain", "3", "", {"task": "none", "steps": "0"})],
    }
    assert recorded_otherwise(agrees, stated) == ()
    differs = {
        "truth": [Row("truth", "1", "", {"trainer.tune": "all", "trainer.budget.epochs": "4"})],
        "pretrain": [Row("pretrain", "3", "", {"task": "colon", "steps": steps}) for steps in "956"],
    }
    assert recorded_otherwise(differs, stated) == (
        "Runs of truth used other settings than the protocol's table states: trainer.budget.steps not set, here 100.",
        "Runs of pretrain used other settings than the protocol's table states: steps 5 or 6, here 9.",
    )
    table = protocol_table(read_protocol(ENTRIES), recorded_otherwise(differs, stated))
    assert table.notes[1].startswith("Runs of truth used")


def test_the_page_has_a_section_of_it_only_for_a_suite_that_states_one(study):
    table = protocol_table(read_protocol(ENTRIES))
    text = page(study, ReportEvidence(suite="planted", protocol=table), [])
    section = text.partition('<section id="protocol">')[2].partition("</section>")[0]
    assert "<h2>The paper&#39;s protocol</h2>" in section
    assert "<td>Departure: a &lt;small&gt; trial</td>" in section
    assert '<a href="#protocol">' in text
    assert "#protocol" not in page(study, ReportEvidence(suite="planted"), [])


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("text", r"suite.protocol must be a list of entries with fact, paper, ours, got text"),
        ([{"fact": "a", "paper": "b"}], r"suite.protocol\[0\] must have the fields fact, paper, ours, missing ours"),
        ([ENTRIES[1], ENTRIES[1] | {"reason": "x"}], r"suite.protocol\[1\] must have only the fields .*, got reason"),
        (
            [ENTRIES[1] | {"ours": None}],
            r"suite.protocol\[0\].ours must be text, a number, .*, got None",
        ),
        ([ENTRIES[1] | {"departure": "no"}], r"suite.protocol\[0\].departure must be true or false, got no"),
    ],
)
def test_a_bad_entry_is_named(entries, message):
    with pytest.raises(InputError, match=message):
        read_protocol(entries)


def test_the_docs_have_the_protocol_of_the_config():
    """To renew them, put what `protocol_markdown` gives between the two comments."""
    prepare_config()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("correlate", ["experiment=paper"])
    stated = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert stated == protocol_markdown(resolved(cfg)["suite"]["protocol"])
