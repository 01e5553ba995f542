"""A real MLflow server over the store of a real small bench with a sweep, and Chromium to look at it."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient

from tests.command_fixtures import CHOSEN
from tests.end_to_end.engines.servers import MlflowServer

SWEEP = ("stream.overlap=0,0.25,0.5", "source=scratch,synthetic_drop", "target=synthetic_ball")


@dataclass(frozen=True)
class Shown:
    """A store and the server that shows it.

    Attributes:
        url: The server's address.
        client: A client of the server.
        experiment: The experiment's id.
        printed: What the bench printed.
        addresses: What `python -m analysis.dashboard` printed.
    """

    url: str
    client: MlflowClient
    experiment: str
    printed: str
    addresses: str

    def runs(self, condition: str):
        return list(self.client.search_runs([self.experiment], condition, max_results=1000))


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[[str, Path], str]]:
    """Starts an MLflow server over a store, as `make ui` does, and gives its address: `serve(uri, artifacts)`."""
    servers = []

    def start(uri: str, artifacts: Path) -> str:
        servers.append(MlflowServer(uri, artifacts).start())
        return servers[-1].uri

    yield start
    for server in servers:
        server.kill()


@pytest.fixture(scope="module")
def shown(bench, make_place, python_m, serve) -> Shown:
    """The small bench with a sweep over the overlap of windows, in a real server."""
    place = make_place("shown")
    for name in ("data", "outputs"):
        shutil.copytree(bench[0].folder / name, place.folder / name)
    shutil.copy(bench[0].folder / "mlflow.db", place.folder / "mlflow.db")
    swept = python_m("benchmark.score", "-m", "experiment=synthetic", CHOSEN, *SWEEP, *place.overrides)
    assert swept.returncode == 0, swept.stdout + swept.stderr
    url = serve(place.uri, place.folder / "mlartifacts")
    refreshed = python_m("analysis.dashboard", "experiment=synthetic", f"ui={url}", *place.overrides)
    assert refreshed.returncode == 0, refreshed.stdout + refreshed.stderr
    return Shown(url, MlflowClient(url), place.store().prepare(), bench[1].stdout, refreshed.stdout)


@pytest.fixture(scope="module")
def browser(browser):
    """The browser with a window that holds all charts; a page that draws does not answer at once."""
    before = browser.get_window_size()
    browser.set_window_size(2000, 1900)
    browser.set_script_timeout(120)
    browser.set_page_load_timeout(120)
    yield browser
    browser.set_window_size(before["width"], before["height"])
