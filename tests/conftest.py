"""What all tests share: tiny synthetic volumes, `--golden`, and what a marked test needs from the machine."""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

# Debian keeps these outside an ordinary user's PATH.
_SYSTEM_FOLDERS = ("/usr/sbin", "/sbin", *map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))))

# marker -> the programs that a test so marked starts
PROGRAMS = {
    "slurm": ("slurmctld", "slurmd", "sbatch", "munged"),
    "postgres": ("initdb", "pg_ctl"),
    "browser": ("chromium", "chromedriver"),
}

# fixtures of the session that take long to make: the tests that use one run in one process
SHARED = ("bench",)

# Time is measured by `make perf`; a loaded machine must not fail a property.
with suppress(ModuleNotFoundError):  # the tests marked gpu also run where it is absent
    import hypothesis

    hypothesis.settings.register_profile("house", deadline=None, print_blob=True)
    hypothesis.settings.load_profile("house")


def pytest_addoption(parser):
    parser.addoption(
        "--golden",
        type=Path,
        default=Path(__file__).parent / "golden",
        metavar="DIR",
        help="folder with the golden vectors and their index.json (default: tests/golden)",
    )
    parser.addoption(
        "--screenshots",
        type=Path,
        default=Path(__file__).parents[1] / "outputs" / "screenshots",
        metavar="DIR",
        help="folder for pictures of the pages that the browser tests open (default: outputs/screenshots)",
    )


def find_program(name: str) -> str | None:
    """The path of a system program, searched on PATH and where Debian puts servers."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *_SYSTEM_FOLDERS])
    return shutil.which(name, path=path)


def missing_programs(marker: str) -> list[str]:
    """Those programs that a marker needs and this machine lacks."""
    return [name for name in PROGRAMS.get(marker, ()) if find_program(name) is None]


def _in_ci() -> bool:
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def pytest_ignore_collect(collection_path, config):
    """With `-m gpu`, import only files with such a test: others need packages that may be absent there."""
    if config.option.markexpr != "gpu":
        return None
    files = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    return None if any("mark.gpu" in path.read_text(encoding="utf-8") for path in files) else True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """With several workers (`make test`): a file shares one, and so do all tests of the bench.

    Long tests come first, and then files of many tests, so that no worker is left with a long file when the others end.
    """
    if not hasattr(config, "workerinput"):
        return
    tests_of = Counter(item.path for item in items)
    for item in items:
        group = next((name for name in SHARED if name in item.fixturenames), str(item.path))
        item.add_marker(pytest.mark.xdist_group(group))
        if hasattr(item, "_id"):  # pytest 9.2 or newer, whose ids pytest-xdist 3.8 does not change
            item._id = type(item._id).parse(f"{item.nodeid}@{group}")
    items.sort(key=lambda item: (item.get_closest_marker("slow") is None, -tests_of[item.path]))


def pytest_runtest_setup(item):
    """Skip a test whose system program is absent, by name; in CI, where nothing may be absent, fail it."""
    for marker in PROGRAMS:
        if item.get_closest_marker(marker) and (absent := missing_programs(marker)):
            reason = f"needs {', '.join(absent)}; `make system-deps` installs it"
            (pytest.fail if _in_ci() else pytest.skip)(reason)
    if item.get_closest_marker("gpu") and not _has_cuda():
        pytest.skip("needs a CUDA device, and torch sees none")


@pytest.fixture(scope="session")
def golden(request) -> Path:
    """The folder of golden vectors named by `--golden`."""
    return request.config.getoption("--golden")


@pytest.fixture(scope="session")
def program() -> Callable[[str], str | None]:
    """Finds a system program as the markers do: `program("initdb")`."""
    return find_program


@pytest.fixture(scope="session")
def browser(tmp_path_factory, program) -> Iterator:
    """A headless Chromium, for tests marked `browser`; `tests.chromium` reads what its pages did."""
    from tests.chromium import chromium

    profile = tmp_path_factory.mktemp("chromium")
    with chromium(program=program("chromium"), driver=program("chromedriver"), profile=profile) as driver:
        yield driver


@pytest.fixture(scope="session")
def screenshots(request) -> Path:
    """The folder of pictures named by `--screenshots`."""
    folder = request.config.getoption("--screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def make_case() -> Callable:
    """Builds one tiny synthetic `Case`: `make_case(seed=0, shape=(16, 18, 20), classes=3, channels=1)`.

    MONAI's bright balls on noise, one intensity a class. Every class from 0 to classes - 1 is present.
    """
    import numpy as np
    import torch
    from monai.data import create_test_image_3d

    from benchmark.data.files.cases import Case

    def make(*, seed=0, shape=(16, 18, 20), classes=3, channels=1, spacing=(1.0, 1.0, 1.0), name=None):
        random = np.random.RandomState(seed)
        labels = np.zeros(shape)
        while len(np.unique(labels)) < classes:  # MONAI draws each ball's class at random
            image, labels = create_test_image_3d(
                *shape,
                num_objs=3 * (classes - 1),
                rad_max=min(shape) // 4,
                rad_min=2,
                noise_max=0.3,
                num_seg_classes=classes - 1,
                random_state=random,
            )
        noise = random.normal(scale=0.05, size=(channels, *shape))
        return Case(
            name=name or f"case_{seed:02d}",
            image=torch.from_numpy(image + noise).float(),
            labels=torch.from_numpy(labels).to(torch.uint8),
            spacing=spacing,
        )

    return make


@pytest.fixture(scope="session")
def cases(make_case) -> tuple:
    """Four tiny cases with two foreground classes and odd, unequal shapes."""
    shapes = ((16, 18, 20), (17, 16, 21), (20, 16, 16), (16, 23, 18))
    return tuple(make_case(seed=seed, shape=shape) for seed, shape in enumerate(shapes))


# --- fixtures of the tests that run commands; tests/test_conftest.py copies what stands above this line ---

from tests.command_fixtures import (  # noqa: E402, F401, RUF100
    again,
    bench,
    checkpoints,
    command_line,
    compose_command,
    empty_store,
    make_place,
    place,
    prepared,
    python_m,
    quiet_process,
    study,
    warm_python,
)
