"""Servers that the tests of engines share, started once, and a bench small enough to run on each."""

import os

import pytest

from benchmark.jobs.cli import CONF
from tests.end_to_end.engines.servers import MlflowServer, Postgres, Slurm

METRICS = ("ccfv", "logme")
SMALL = (  # one target of the synthetic suite, two sources; no report, which no engine has a part in
    "experiment=synthetic",
    "suite.sources=[synthetic_drop,scratch]",
    "suite.tasks=[synthetic_ball,synthetic_drop]",
    "~suite.targets.synthetic_pebble",
    "suite.longer=null",
    "suite.repeated=null",
    f"overrides.score=['metric=[{','.join(METRICS)}]']",
    "until=score",
)


@pytest.fixture(scope="session")
def small() -> tuple[str, ...]:
    """The overrides of a bench of 8 jobs whose figures are also those of the session's whole bench."""
    return SMALL


@pytest.fixture(scope="session")
def run_bench(python_m):
    """Runs a bench in a place's folder: `run_bench(place, *overrides)`."""

    def run(place, *overrides, env=None):
        settings = {"PYTHONPATH": str(CONF.parent), **(env or {})}
        return python_m("benchmark.bench", *place.overrides, *overrides, cwd=place.folder, env=settings)

    return run


@pytest.fixture(scope="session")
def postgres():
    server = Postgres().make()
    yield server
    server.remove()


@pytest.fixture(scope="session")
def mlflow_server(postgres, tmp_path_factory):
    """A tracking server over PostgreSQL."""
    server = MlflowServer(postgres.uri, tmp_path_factory.mktemp("server") / "artifacts").start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def slurm():
    if os.geteuid() != 0:
        pytest.skip("needs root, which runs a one-node Slurm")
    node = Slurm()
    yield node.start()
    node.stop()
