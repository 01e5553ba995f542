"""What the tests of the pipeline share: composed configs, commands run in this process, stores, prepared tasks."""

import contextlib
import importlib
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.data.tasks.opening import cutting_code
from benchmark.jobs.cli import CONF, prepare_config
from tests.warm_python import WarmPython

if TYPE_CHECKING:
    from benchmark.tracking import Store

METRICS = ("ccfv", "ccfv_released", "logme", "gbc", "h_score", "leep", "transrate")  # of the session's bench
CHOSEN = f"metric=[{','.join(METRICS)}]"
BASIC = "hydra/launcher=basic"
BENCH = (
    "experiment=synthetic",
    *(f"overrides.{one}=['{CHOSEN}']" for one in ("score", "correlate")),
)
MODULES = {"correlate": "analysis.correlate"}  # command -> its module, where that is not benchmark.<command>


@dataclass(frozen=True)
class Place:
    """A folder with data, outputs and a tracking store of its own."""

    folder: Path

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.folder / 'mlflow.db'}"

    @property
    def overrides(self) -> list[str]:
        """What sends every command to this folder."""
        return [
            f"data_dir={self.folder / 'data'}",
            f"output_dir={self.folder / 'outputs'}",
            f"tracking.uri={self.uri}",
            f"tracking.artifacts={self.folder / 'mlartifacts'}",
        ]

    def store(self, suite: str = "synthetic") -> "Store":
        from benchmark.tracking import Store

        return Store(self.uri, f"ccfv-bench/{suite}", str(self.folder / "mlartifacts"))

    def task(self, name: str) -> Path:
        return self.folder / "data" / "synthetic" / name


@dataclass(frozen=True)
class Done:
    """How a command ended: exit code, what it printed on standard output and on standard error."""

    code: int
    out: str
    err: str


def composed(root: str, *overrides: str) -> DictConfig:
    """The config of a command."""
    prepare_config()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(root, list(overrides))


def module_of(command: str):
    return importlib.import_module(MODULES.get(command, f"benchmark.{command}"))


@contextlib.contextmanager
def untouched_process() -> Iterator[None]:
    """Hydra sets up logging and its own singletons; put both back."""
    Plugins.instance()  # stores their configs, which a second search would not store again
    root = logging.getLogger()
    handlers, level, state = root.handlers[:], root.level, Singleton.get_state()
    try:
        yield
    finally:
        for handler in root.handlers:
            if handler not in handlers:
                handler.close()
        root.handlers[:] = handlers
        root.setLevel(level)
        Singleton.set_state(state)


@pytest.fixture(scope="session")
def compose_command() -> Callable[..., DictConfig]:
    """Composes a command's config: `compose_command("truth", "source=scratch")`."""
    return composed


@pytest.fixture
def quiet_process() -> Callable[[], contextlib.AbstractContextManager[None]]:
    """A block after which Hydra's traces in this process are gone."""
    return untouched_process


@pytest.fixture
def command_line(monkeypatch, capfd) -> Callable[..., Done]:
    """Runs a command in this process as its command line would: `command_line("truth", "source=scratch")`."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def run(command: str, *overrides: str) -> Done:
        module = module_of(command)
        monkeypatch.setattr(sys, "argv", [command, *overrides])
        capfd.readouterr()
        code = 0
        prepare_config()  # once a process, since what a command registers is forgotten after it
        with untouched_process():
            try:
                module.main()
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
        return Done(code, *capfd.readouterr())

    return run


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """The file of a store without experiments: making one takes seconds, copying it none."""
    pytest.importorskip("mlflow", reason="needs mlflow")
    from benchmark.tracking import Store

    folder = tmp_path_factory.mktemp("empty")
    Store(f"sqlite:///{folder / 'mlflow.db'}", "none", str(folder)).client  # noqa: B018 - opening it makes it
    return folder / "mlflow.db"


@pytest.fixture(scope="session")
def make_place(tmp_path_factory, empty_store) -> Callable[[str], Place]:
    """Makes a folder with an empty store and nothing else."""

    def make(name: str) -> Place:
        folder = tmp_path_factory.mktemp(name)
        shutil.copy(empty_store, folder / "mlflow.db")
        return Place(folder)

    return make


@pytest.fixture
def place(make_place) -> Place:
    """A folder with an empty store and nothing else."""
    return make_place("place")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """The data folder with the tasks of the synthetic suite; copy it before changing anything."""
    folder = tmp_path_factory.mktemp("prepared") / "data"
    suite = composed("bench", "experiment=synthetic").suite
    for task in suite.tasks:
        cfg = composed("prepare", f"task={task}", "suite=synthetic", f"data_dir={folder}")
        instantiate(cfg.task).prepare(folder / "packages", code=cutting_code(cfg.task))
    return folder


@pytest.fixture
def study(place, prepared) -> Place:
    """A folder with an empty store and a copy of the synthetic suite's tasks."""
    shutil.copytree(prepared, place.folder / "data")
    return place


@pytest.fixture(scope="session")
def warm_python() -> Iterator[WarmPython]:
    """A process with imports already done, which forks for each command."""
    warm = WarmPython(CONF.parent)
    yield warm
    warm.stop()


@pytest.fixture(scope="session")
def python_m(warm_python) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a command as its users do, with imports already done: `python_m("benchmark.truth", "source=scratch")`."""

    def run(
        module: str, *overrides: str, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        settings = {"OMP_NUM_THREADS": "1", "COLUMNS": "160", **(env or {})}
        return warm_python.run(module, overrides, os.environ | settings, cwd=cwd)

    return run


@pytest.fixture(scope="session")
def bench(make_place, prepared, python_m) -> tuple[Place, subprocess.CompletedProcess[str]]:
    """A place with a whole study, as `python -m benchmark.bench` made it, and how that went."""
    place = make_place("bench")
    shutil.copytree(prepared, place.folder / "data")
    done = python_m("benchmark.bench", *BENCH, BASIC, *place.overrides)
    assert done.returncode == 0, done.stdout + done.stderr
    return place, done


@pytest.fixture
def again(bench, tmp_path) -> Place:
    """A copy of the whole study, to go on with or to corrupt; artifacts stay where they are."""
    for name in ("data", "outputs"):
        shutil.copytree(bench[0].folder / name, tmp_path / name)
    shutil.copy(bench[0].folder / "mlflow.db", tmp_path / "mlflow.db")
    return Place(tmp_path)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """Checkpoints of every kind in one folder: name -> path; `checkpoints["unet_3d"].parent` is the folder."""
    from tests.checkpoints import write_pool

    return write_pool(tmp_path_factory.mktemp("pool"))
