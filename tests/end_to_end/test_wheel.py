"""The built wheel on its own: everything that the code reads travels in it, and `rank` runs from it in any folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.checkpoints import small_network, write_file, write_weights

ROOT = Path(__file__).parents[2]
PACKAGES = ("benchmark", "baselines", "analysis", "conf")
PROJECT = ("pyproject.toml", "README.md", "LICENSE")

pytestmark = pytest.mark.slow


def run(*command, cwd, **settings):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | settings
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel of a copy of the tree, built by the setuptools that is here."""
    tree = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in PROJECT:
        shutil.copy(ROOT / name, tree / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", "dist", "."]
    done = run(*command, cwd=tree)
    assert done.returncode == 0, done.stderr
    return next((tree / "dist").glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The Python of a clean environment with the wheel in it.

    The dependencies are those of this environment: its folder stands on the path after the clean one's own. The `.pth`
    files in it are not read there, so a project that is installed for editing is not seen.
    """
    folder = tmp_path_factory.mktemp("clean")
    assert run(sys.executable, "-m", "venv", "--without-pip", str(folder), cwd=folder).returncode == 0
    python = folder / "bin" / "python"
    done = run(sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index",
               str(wheel), cwd=folder)  # fmt: skip
    assert done.returncode == 0, done.stderr
    own = next((folder / "lib").glob("python*/site-packages"))
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_all_that_is_read_travels_in_the_wheel(wheel):
    held = set(zipfile.ZipFile(wheel).namelist())
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*")
             if path.is_file() and "__pycache__" not in path.parts]  # fmt: skip
    assert {path.relative_to(ROOT).as_posix() for path in files} - held == set()


def test_rank_runs_from_the_wheel(installed, prepared, tmp_path):
    pool = tmp_path / "pool"
    write_weights(small_network("DynUNet"), pool / "dynunet.pt")
    write_weights(small_network("UNet", seed=1), pool / "unet.pt")
    write_file(pool / "scratch")
    place = run(str(installed), "-c", "import benchmark; print(benchmark.__file__)", cwd=tmp_path)
    assert Path(place.stdout.strip()).is_relative_to(installed.parent.parent), place.stdout + place.stderr
    ball = prepared / "synthetic" / "synthetic_ball"
    done = run(str(installed), "-m", "benchmark.rank", f"task={ball}", f"source={pool}", "metric=[ccfv,logme]",
               cwd=tmp_path, OMP_NUM_THREADS="1", COLUMNS="160")  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("dynunet", "unet", "scratch"):
        assert f"{name}: scored" in done.stdout
    written = tmp_path / "outputs" / "rank" / "synthetic_ball"
    assert {path.name for path in written.iterdir()} == {"ranking.html", "ranking.csv", "ranking.json"}
    assert (written / "ranking.html").read_text(encoding="utf-8").startswith("<!doctype html>")
