"""A real MLflow server over the store of a real small bench with a sweep, and Chromium to look at it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from mlflow import MlflowClient

STARTS = 90.0  # seconds that a server may take on a loaded machine
SWEEP = ("stream.overlap=0,0.25,0.5", "source=scratch,synthetic_drop", "target=synthetic_ball")


@dataclass(frozen=True)
class Shown:
    """A store and the server that shows it.

    Attributes:
        url: The server's address.
        client: A client of the server.
        experiment: The experiment's id.
        printed: What the bench printed.
        told: What `python -m analysis.dashboard` printed.
    """

    url: str
    client: MlflowClient
    experiment: str
    printed: str
    told: str

    def runs(self, condition: str):
        return list(self.client.search_runs([self.experiment], condition, max_results=1000))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(url: str, server: subprocess.Popen) -> None:
    end = time.monotonic() + STARTS
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"the MLflow server did not answer within {STARTS:.0f} s")


def stop(server: subprocess.Popen) -> None:
    """Stop a server with all processes that it started."""
    tree = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    for process in tree:
        process.terminate()
    _, alive = psutil.wait_procs(tree, timeout=10)
    for process in alive:
        process.kill()


@pytest.fixture(scope="module")
def serve(tmp_path_factory) -> Iterator[Callable[[str, Path], str]]:
    """Starts an MLflow server over a store, as `make ui` does, and gives its address: `serve(uri, artifacts)`."""
    servers = []

    def start(uri: str, artifacts: Path) -> str:
        url = f"http://127.0.0.1:{(port := free_port())}"
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--artifacts-destination",
                   str(artifacts), "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]  # fmt: skip
        with (tmp_path_factory.mktemp("server") / "log").open("w") as log:
            settings = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
            servers.append(subprocess.Popen(command, stdout=log, stderr=log, env=settings))
        wait_for(url, servers[-1])
        return url

    yield start
    for server in servers:
        stop(server)


@pytest.fixture(scope="module")
def shown(bench, make_place, python_m, serve) -> Shown:
    """The small bench with a sweep over the overlap of windows, in a real server."""
    place = make_place("shown")
    for name in ("data", "outputs"):
        shutil.copytree(bench[0].folder / name, place.folder / name)
    shutil.copy(bench[0].folder / "mlflow.db", place.folder / "mlflow.db")
    swept = python_m("benchmark.score", "-m", "experiment=synthetic", *SWEEP, *place.overrides)
    assert swept.returncode == 0, swept.stdout + swept.stderr
    url = serve(place.uri, place.folder / "mlartifacts")
    told = python_m("analysis.dashboard", "experiment=synthetic", f"ui={url}", *place.overrides)
    assert told.returncode == 0, told.stdout + told.stderr
    return Shown(url, MlflowClient(url), place.store().prepare(), bench[1].stdout, told.stdout)


@pytest.fixture(scope="module")
def browser(program, tmp_path_factory):
    """Headless Chromium, wide: a panel of MLflow opens by itself."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    profile = tmp_path_factory.mktemp("profile")
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync", f"user-data-dir={profile}",
        "window-size=2000,1900",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(program("chromedriver")))
    driver.set_script_timeout(120)  # a page that draws does not answer
    driver.set_page_load_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def screenshots(request, tmp_path_factory) -> Path:
    """Where pictures of the pages go: `--screenshots DIR`, or else a folder that pytest clears away."""
    folder = request.config.getoption("--screenshots") or tmp_path_factory.mktemp("outputs") / "screenshots"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
