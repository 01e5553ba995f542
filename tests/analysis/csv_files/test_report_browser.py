"""The report of CSV files in a real browser, opened from disk, as the bench's is."""

import pytest
from hydra import compose, initialize_config_dir

from analysis.audit import run
from analysis.csv_files.example import write_example
from benchmark.jobs.cli import CONF, prepare_config
from tests.chromium import complaints, phone, requested, screenshot

pytestmark = pytest.mark.browser
NARROW = 390
OVERVIEW = "#agreement > .scroll table"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The page of the template's files, of which two pairs lack a value."""
    folder = tmp_path_factory.mktemp("audit")
    files = write_example(folder)
    text = files[0].read_text(encoding="utf-8").splitlines()
    files[0].write_text("\n".join(line for line in text if not line.startswith("heart vit,liver")), encoding="utf-8")
    prepare_config()
    given = zip(("table", "estimates", "sources"), files, strict=True)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        run(compose("audit", [f"output_dir='{folder}'", "resamples=50", *(f"{name}='{path}'" for name, path in given)]))
    return folder / "audit" / "report.html"


@pytest.fixture
def opened(browser, page):
    browser.get("about:blank")  # as in the other test of a report
    complaints(browser)
    requested(browser)
    browser.get(page.as_uri())
    return browser


def test_it_opens_from_disk_without_a_request_or_an_error(opened, page, screenshots):
    assert requested(opened) == [page.as_uri()]
    assert complaints(opened) == []
    broken = "return [...document.images].filter(i => !(i.complete && i.naturalWidth > 0)).length"
    assert opened.execute_script(broken) == 0
    assert opened.execute_script("return document.images.length") > 5
    assert screenshot(opened, "report_of_files", screenshots).stat().st_size > 10_000


def test_it_says_on_which_pairs_all_is_compared_and_which_are_left_out(opened):
    text = opened.execute_script("return document.getElementById('pairs-compared').innerText")
    assert "the same 20 pairs of 7 sources and 3 targets; 1 pair is left out" in text
    opened.execute_script("document.getElementById('left-out').open = true")
    cells = opened.execute_script("return [...document.querySelectorAll('#left-out tbody tr')].map(r => r.innerText)")
    assert [cell.split("\t") for cell in cells] == [["liver", "heart vit", "only in the estimates"]]


def test_a_click_sorts_the_estimates(opened):
    names = f"return [...document.querySelector('{OVERVIEW}').tBodies[0].rows].map(row => row.cells[0].innerText)"
    assert opened.execute_script(names) == ["my_estimate", "another"]
    opened.execute_script(f"document.querySelector('{OVERVIEW} thead button').click()")
    first = opened.execute_script(names)
    opened.execute_script(f"document.querySelector('{OVERVIEW} thead button').click()")
    assert opened.execute_script(names) == first[::-1]


@pytest.mark.parametrize("folded", [True, False])
def test_a_phone_scrolls_down_only(opened, folded):
    with phone(opened):
        opened.execute_script("document.querySelectorAll('details').forEach(d => d.open = !arguments[0])", folded)
        assert opened.execute_script("return document.documentElement.scrollWidth") <= NARROW
