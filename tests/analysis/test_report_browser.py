"""The report in a real browser, opened from disk."""

import json

import pytest

from analysis.report import page
from tests.chromium import complaints, phone, requested, screenshot

pytestmark = pytest.mark.browser
NARROW = 390


@pytest.fixture
def opened(browser, report):
    browser.get("about:blank")  # opening the page again while it is shown may return before it is replaced
    complaints(browser)
    requested(browser)
    browser.get((report / "report.html").as_uri())
    return browser


OVERVIEW = "#agreement > .scroll table"


def column(browser, body, place):
    """The texts of one column of the bodies of the table of agreement."""
    rows = f"[...document.querySelector('{OVERVIEW}').tBodies[arguments[0]].rows]"
    return browser.execute_script(f"return {rows}.map(row => row.cells[arguments[1]].innerText)", body, place)


def click(browser, place):
    browser.execute_script(f"document.querySelectorAll('{OVERVIEW} thead button')[arguments[0]].click()", place)


def test_it_opens_from_disk_without_a_request_or_an_error(opened, report, screenshots):
    assert requested(opened) == [(report / "report.html").as_uri()]
    assert complaints(opened) == []
    broken = "return [...document.images].filter(i => !(i.complete && i.naturalWidth > 0)).length"
    assert opened.execute_script(broken) == 0
    assert opened.execute_script("return document.images.length") > 15
    assert screenshot(opened, "report", screenshots).stat().st_size > 10_000


def test_a_click_sorts_within_metrics_and_within_controls(opened, study):
    metrics = [str(name) for name in study.agreement_of().query("kind == 'metric'").index]
    assert column(opened, 0, 0) == metrics
    kendall = [
        head.get_attribute("textContent") for head in opened.find_elements("css selector", f"{OVERVIEW} thead th")
    ]
    place = kendall.index("Spearman")
    button = place - 1  # the drawn intervals have no button
    click(opened, button)
    values = column(opened, 0, place)
    numbers = [float(value) for value in values if value != "–"]  # noqa: RUF001
    assert numbers == sorted(numbers, reverse=True)
    assert values[len(numbers) :] == ["–"] * (len(values) - len(numbers))  # noqa: RUF001 -- undefined stays last
    click(opened, button)
    values = column(opened, 0, place)
    assert [float(value) for value in values[: len(numbers)]] == sorted(numbers)
    assert values[-1] == "–"  # noqa: RUF001
    assert set(column(opened, 0, 0)) == set(metrics)
    click(opened, 0)
    assert column(opened, 0, 0) == sorted(metrics, reverse=True)
    controls = column(opened, 1, 0)
    assert controls == sorted(controls, reverse=True)
    assert "good" not in controls


def test_a_link_to_a_folded_note_opens_it(opened):
    opened.execute_script("location.hash = '#method-ccfv'")
    opened.execute_script("window.dispatchEvent(new HashChangeEvent('hashchange'))")
    assert opened.execute_script("return document.getElementById('method-ccfv').open")


@pytest.mark.parametrize("folded", [True, False])
def test_a_phone_scrolls_down_only(opened, folded, screenshots):
    with phone(opened):
        opened.execute_script("document.querySelectorAll('details').forEach(d => d.open = !arguments[0])", folded)
        assert opened.execute_script("return window.innerWidth") == NARROW
        assert opened.execute_script("return document.documentElement.scrollWidth") <= NARROW
        if folded:
            screenshot(opened, "report_phone", screenshots)


def test_print_shows_what_is_folded(opened):
    opened.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert opened.execute_script("return document.querySelectorAll('details:not([open])').length") == 0


def test_any_metric_can_be_chosen_where_panels_are_too_many(browser, study, evidence, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.report.files.all_panels", lambda study: False)
    path = tmp_path / "many.html"
    path.write_text(page(study, evidence, []), encoding="utf-8")
    complaints(browser)
    browser.get(path.as_uri())
    told = "[panel.getAttribute('aria-label'), panel.querySelectorAll('g').length]"
    shown = f"return JSON.stringify([...document.querySelectorAll('#panels svg')].map(panel => {told}))"
    first = json.loads(browser.execute_script(shown))
    assert len(first) == len(study.pools)
    browser.execute_script(
        "const s = document.getElementById('metric'); s.value = 'gap'; s.dispatchEvent(new Event('change'))"
    )
    panels = dict(json.loads(browser.execute_script(shown)))
    assert panels["gap against Dice on liver: τw undefined"] == 11
    assert sorted(panels.values()) == [11, 12, 12, 12, 12]
    title = browser.execute_script("return document.querySelector('#panels title').textContent")
    assert "Dice 0." in title
    assert complaints(browser) == []
