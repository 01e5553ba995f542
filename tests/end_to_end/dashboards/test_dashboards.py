"""Every dashboard and the page of compared runs in a real browser: the right charts, bars, points and lines."""

import json
import math
import re
import time
import urllib.parse
from collections import Counter

import pytest

from tests.end_to_end.test_commands import REPEAT

MOST_NAMES = 30  # MLflow draws the lines of so many values of a param
pytestmark = [pytest.mark.browser, pytest.mark.slow]

SWEPT = ("scratch", "synthetic_drop")
PATIENCE = 90.0  # seconds for a page to draw on a loaded machine
# MLflow's own: a server without users answers 404, and a chart that is laid out before its size is known draws NaN once
OWN = re.compile(r"users/current|attribute (transform|d|height|width|x|y|x1|x2|y1|y2|cx|cy|points): ")
# All that is drawn: of plotly's charts what it was given, of parallel coordinates the axes and, from React, the lines.
DRAWN = """
const lines = node => {
  let fiber = node[Object.keys(node).find(key => key.startsWith('__reactFiber'))];
  while (fiber && !Array.isArray(fiber.memoizedProps?.data)) fiber = fiber.return;
  return fiber ? fiber.memoizedProps.data.length : -1;
};
const card = node => node.closest('[data-testid="experiment-view-compare-runs-card"]')?.innerText.split('\\n')[0] ?? '';
const plots = [...document.querySelectorAll('.js-plotly-plot')].filter(plot => plot.data?.length).map(plot => {
  const trace = plot.data[0];
  const drawn = kind => [...plot.querySelectorAll(kind)].filter(node => node.getBBox().width > 0).length;
  if (trace.type === 'bar') {
    const values = [...trace.x].filter(Number.isFinite);  // a bar of 0 has no width
    const whole = values.filter(value => value !== 0).length === drawn('.trace.bars .point path');
    return ['bars', card(plot), whole ? values.length : -1];
  }
  if (trace.type === 'parcoords')
    return ['lines', trace.dimensions.map(axis => axis.label).join(' '), trace.dimensions[0].values.length];
  return ['points', `${plot.layout.xaxis.title.text} ${plot.layout.yaxis.title.text}`, drawn('.scatterlayer .point')];
});
const parallel = [...document.querySelectorAll('.parcoords')].filter(node => node.querySelector('.dimension'))
  .map(node => ['lines', [...node.querySelectorAll('.dimension')].map(axis => axis.querySelector('.label').textContent)
    .join(' '), lines(node)]);
return [...plots, ...parallel];
"""


class Page:
    """A page of MLflow that has drawn what is expected of it."""

    def __init__(self, browser, url, screenshots, name, expected):
        browser.get_log("browser")
        browser.get("about:blank")
        browser.get(url)
        end = time.monotonic() + PATIENCE
        while True:
            time.sleep(1.0)  # looking costs the page time to draw
            self.charts = browser.execute_script(DRAWN)
            if expected <= self.counted or time.monotonic() > end:
                break
        self.text = browser.execute_script("return document.body.innerText")
        browser.save_screenshot(str(screenshots / f"{name}.png"))
        self.errors = [line["message"] for line in browser.get_log("browser")
                       if line["level"] == "SEVERE" and not OWN.search(line["message"])]  # fmt: skip

    @property
    def counted(self) -> Counter:
        """(kind, axes, number) of each chart."""
        return Counter(map(tuple, self.charts))


def address(text, key):
    return re.search(rf"\S+viewStateShareKey={key}\S*", text).group()


def check(page, expected):
    assert expected <= page.counted, f"{page.counted}\n{page.text[:2000]}"
    assert page.errors == []
    assert not re.search(r"something went wrong|Error loading|failed to load|No data found", page.text, re.IGNORECASE)


def finite(runs, *metrics):
    return sum(all(math.isfinite(run.data.metrics.get(name, math.nan)) for name in metrics) for run in runs)


def test_agreement(shown, browser, screenshots):
    """A bar and a point a metric, from the mean over targets; a line for each metric and target, not for means."""
    runs = shown.runs("tags.stage = 'agreement' and params.scope != 'mean_by_scan'")
    means = [run for run in runs if run.data.params["scope"] == "mean"]
    targets = [run for run in runs if run not in means]
    assert len(runs) == 3 * len(means) > 20
    bars = ("weighted_kendall", "weighted_kendall_low", "weighted_kendall_share", "top1_regret")
    expected = Counter({("bars", f"mean/{name}", finite(means, f"mean/{name}")): 1 for name in bars})
    expected["points", "mean/seconds mean/weighted_kendall", finite(means, "mean/weighted_kendall")] = 1
    drawn = finite(targets, "seconds", "weighted_kendall") // finite(means, "mean/weighted_kendall")  # lines a metric
    names = min(finite(means, "mean/weighted_kendall"), MOST_NAMES)
    expected["lines", "target metric seconds weighted_kendall", drawn * names] = 1
    check(Page(browser, address(shown.addresses, "agreement"), screenshots, "agreement", expected), expected)


def test_truth(shown, browser, screenshots):
    """A bar and a line for each source and target; points against what could foretell the Dice."""
    pairs = shown.runs("tags.stage = 'pair'")
    assert len(pairs) == 8
    means = shown.runs("tags.stage = 'agreement' and params.scope = 'mean' and tags.kind = 'metric'")
    agreement = {run.data.params["metric"]: run.data.metrics["weighted_kendall"] for run in means}
    best = max((name for name in agreement if math.isfinite(agreement[name])), key=agreement.__getitem__)
    expected = Counter({("bars", "dice", 8): 1, ("lines", "target source dice", 8): 1})
    for name in ("source_dice", "static_leaderboard", best):
        expected["points", f"{name} dice", finite(pairs, name, "dice")] = 1
    check(Page(browser, address(shown.addresses, "truth"), screenshots, "truth", expected), expected)


def test_sweeps(shown, browser, screenshots):
    """A line and a bar for each value of a setting that was swept over, the bench's own run among them."""
    runs = shown.runs("tags.sweep = 'stream.overlap'")
    values = Counter((run.data.params["source"], run.data.params["stream.overlap"]) for run in runs)
    assert values == {(source, value): 1 for source in SWEPT for value in ("0", "0.25", "0.5")}
    assert all(f"[stream.overlap={run.data.params['stream.overlap']}]" in run.info.run_name for run in runs)
    first, second, third, *_ = runs[0].data.params["metrics"].split(",")  # the first gives the colour: it comes last
    axes = f"stream.overlap target source {third} {second} {first}"
    expected = Counter({("lines", axes, 6): 1, ("bars", first, 6): 1})
    page = Page(browser, address(shown.addresses, "sweeps"), screenshots, "sweeps", expected)
    check(page, expected)
    assert "stream.overlap (score)" in page.text


@pytest.mark.parametrize(
    ("name", "condition", "axes"),
    [
        ("agreement", "tags.stage = 'agreement' and params.target = 'synthetic_ball'", "metric weighted_kendall"),
        ("truth", f"tags.stage = 'truth' and params.source != '{REPEAT}'", "seed source target dice"),
        ("sweep", "tags.sweep = 'stream.overlap'", "source stream.overlap ccfv"),
    ],
)
def test_compared_runs(shown, browser, screenshots, name, condition, axes):
    """The page of runs that are compared opens on what differs and what came out."""
    runs = shown.runs(condition)
    chosen = urllib.parse.quote(json.dumps([run.info.run_id for run in runs]))
    url = f"{shown.url}/#/compare-runs?runs={chosen}&experiments={urllib.parse.quote(json.dumps([shown.experiment]))}"
    expected = Counter({("lines", axes, len(runs)): 1})
    check(Page(browser, url, screenshots, f"compare_{name}", expected), expected)


def test_the_bench_prints_the_addresses(shown):
    for key in ("agreement", "truth", "sweeps"):
        page = f"#/experiments/{shown.experiment}/runs?viewStateShareKey={key}&compareRunsMode=CHART"
        assert address(shown.printed, key) == f"http://127.0.0.1:5000/{page}"
        assert address(shown.addresses, key) == f"{shown.url}/{page}"


@pytest.mark.parametrize("stage", ["truth", "score", "pair", "agreement"])
def test_a_run_says_what_it_is_and_what_it_reads(shown, stage):
    run = shown.runs(f"tags.stage = '{stage}' and params.target = 'synthetic_ball'")[0]
    (read,) = run.inputs.dataset_inputs
    assert (read.dataset.name, read.tags[0].value) == ("synthetic_ball", "target")
    assert "**synthetic_ball**" in run.data.tags["mlflow.note.content"]
