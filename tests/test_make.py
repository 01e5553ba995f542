"""The Makefile describes itself, installs once, and hands on only what was given; no network, no real environment."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TARGETS = {"help", "setup", "bench", "test", "lint", "perf", "gpu-check", "gpu-wheels", "ui", "system-deps", "clean"}

# Stands in for python3: makes an environment whose python writes down how it is called, and fails at FAIL_ON.
FAKE_PYTHON = """#!/bin/sh
case "$1" in
  -c) exit ${OLD_PYTHON:-0} ;;
  --version) echo "Python 3.9.1" ;;
  -m) mkdir -p "$3/bin"
      printf '#!/bin/sh\\necho "$@" >> calls\\n[ "$2" != "$FAIL_ON" ]\\n' > "$3/bin/python"
      chmod +x "$3/bin/python" ;;
esac
"""


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


MAKE_SETS = ("ARGS", "MAKEFLAGS", "MAKELEVEL", "MFLAGS")  # where these tests are run by `make test ARGS='...'`


def call(*command, cwd=ROOT, **environment):
    # Inside `make test` the outer make's flags would reach the inner one.
    inherited = {name: value for name, value in os.environ.items() if name not in MAKE_SETS}
    env = {**inherited, **{name: str(value) for name, value in environment.items()}}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True, check=False
    )


class Clone:
    """A bare copy of what make reads, with a fake interpreter."""

    def __init__(self, folder: Path):
        self.folder = folder
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, folder)
        self.python = write_program(folder / "fake-python", FAKE_PYTHON)

    def make(self, *arguments, **environment):
        (self.folder / "calls").unlink(missing_ok=True)
        return call("make", f"PYTHON={self.python}", *arguments, cwd=self.folder, **environment)

    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def modules(self) -> list[str]:
        return [line.split()[1] for line in self.calls()]

    def age(self, name: str, seconds: float):
        """Put a file's time before (positive) or after (negative) the stamp's."""
        moment = (self.folder / ".venv/.installed").stat().st_mtime - seconds
        os.utime(self.folder / name, (moment, moment))


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def declared_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.search(r"^\.PHONY: (.*)$", text, re.M).group(1).split())


def test_help_is_the_default_and_describes_every_target():
    plain, named = call("make", "-s"), call("make", "-s", "help")
    assert plain.returncode == 0
    assert plain.stdout == named.stdout
    described = dict(re.findall(r"^  make (\S+) +(\S.*)$", named.stdout, re.M))
    assert declared_targets() >= TARGETS
    for target in declared_targets():
        assert len(described.get(target, "")) > 10, target


def test_every_module_that_the_makefile_runs_exists():
    modules = re.findall(r"\$\(RUN\) -m (\S+)", (ROOT / "Makefile").read_text(encoding="utf-8"))
    assert {"pip", "pytest", "ruff", "mypy", "mlflow", "benchmark.bench"} <= set(modules)
    assert [name for name in modules if find_spec(name) is None] == []


def test_every_extra_that_is_installed_is_declared():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    extras = re.search(r"^EXTRAS \?= (\S+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M).group(1)
    assert set(extras.split(",")) <= set(declared)


@pytest.mark.parametrize(("target", "module"), [("bench", "benchmark.bench"), ("test", "pytest")])
def test_first_command_installs_and_the_second_does_not(clone, target, module):
    assert clone.make(target).returncode == 0
    assert clone.modules() == ["pip", module]
    assert "-c constraints.txt -e .[dev,docs,ray,slurm,postgres]" in clone.calls()[0]
    assert clone.make(target).returncode == 0
    assert clone.modules() == [module]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_change_of_the_versions_installs_again(clone, name):
    clone.make("setup")
    for other in ("pyproject.toml", "constraints.txt"):
        clone.age(other, 10)
    assert clone.make("setup").returncode == 0
    assert clone.modules() == []
    clone.age(name, -10)
    clone.make("setup")
    assert clone.modules() == ["pip"]


def test_a_failed_install_is_tried_again(clone):
    failed = clone.make("test", FAIL_ON="pip")
    assert failed.returncode != 0
    assert clone.modules() == ["pip"]
    clone.make("test")
    assert clone.modules() == ["pip", "pytest"]


def test_an_old_python_gets_one_clear_line(clone):
    result = clone.make("bench", OLD_PYTHON=1)
    assert result.returncode != 0
    assert "PYTHON must be Python 3.11 or newer" in result.stderr
    assert "Python 3.9.1" in result.stderr
    assert "make bench PYTHON=" in result.stderr
    assert not (clone.folder / ".venv").exists()


def test_bench_hands_on_only_what_was_given(clone):
    clone.make("bench")
    assert clone.calls()[-1].split() == ["-m", "benchmark.bench", "experiment=scans", "hydra/launcher=joblib"]
    clone.make("bench", "EXPERIMENT=tiny", "LAUNCHER=ray", "DEVICE=cuda", "TRACKING=http://h:5/?a=b", "ARGS=-m x=1")
    given = ["experiment=tiny", "hydra/launcher=ray", "device=cuda", 'tracking.uri="http://h:5/?a=b"', "-m", "x=1"]
    assert clone.calls()[-1].split()[2:] == given


def test_perf_hands_on_only_what_was_given(clone):
    clone.make("perf")
    assert clone.calls()[-1].split() == ["-m", "benchmark.perf"]
    clone.make("perf", "DEVICE=cuda", "TRACKING=http://h:5/?a=b", "ARGS=growth=null")
    assert clone.calls()[-1].split()[2:] == ["device=cuda", 'tracking.uri="http://h:5/?a=b"', "growth=null"]


@pytest.mark.parametrize(("target", "module"), [("test", "pytest"), ("perf", "benchmark.perf")])
def test_failures_reach_the_caller(clone, target, module):
    assert clone.make(target, FAIL_ON=module).returncode != 0


def test_ui_prints_its_loopback_address_first(clone):
    result = clone.make("-s", "ui", "PORT=5055")
    assert result.stdout.splitlines()[-1].startswith("MLflow shows sqlite:///mlflow.db at http://127.0.0.1:5055")
    assert "--host 127.0.0.1 --port 5055" in clone.calls()[-1]


def test_clean_keeps_the_results(clone):
    clone.make("setup")
    results = [clone.folder / name for name in ("mlflow.db", "mlartifacts/a", "outputs/a", "data/a")]
    for path in results:
        write_program(path, "")
    assert clone.make("clean").returncode == 0
    assert not (clone.folder / ".venv").exists()
    assert all(path.exists() for path in results)


class Debian:
    """Fake dpkg-query, apt-get and id on a PATH that holds nothing else."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.calls = folder / "calls"
        log = f'echo "$@" >> {self.calls}\n'
        status = '[ "$4" = there ] && echo install ok installed\n'
        self.programs = {
            "dpkg-query": f"#!/bin/sh\n{status}",
            "id": "#!/bin/sh\necho ${USER_ID:-0}\n",
            # fails until an update has run if STALE is set
            "apt-get": f"#!/bin/sh\n{log}"
            f'[ -z "$STALE" ] || [ "$1" = update ] || [ -e {folder}/updated ] || exit 1\n'
            f'[ "$1" != update ] || echo done > {folder}/updated\n',
        }

    def run(self, *packages, without=(), **environment):
        for name, text in self.programs.items():
            if name not in without:
                write_program(self.folder / "bin" / name, text)
        script = ROOT / ".ci/system-deps"
        return call(shutil.which("bash"), script, *packages, PATH=self.folder / "bin", **environment)

    def apt(self) -> list[str]:
        return self.calls.read_text(encoding="utf-8").splitlines() if self.calls.exists() else []


@pytest.fixture
def debian(tmp_path):
    return Debian(tmp_path)


def test_system_deps_installs_only_what_is_missing(debian):
    assert debian.run("there", "absent").returncode == 0
    assert len(debian.apt()) == 1
    assert debian.apt()[0].endswith(" absent")
    assert "there" not in debian.apt()[0]


def test_system_deps_does_nothing_where_all_is_there(debian):
    result = debian.run("there", USER_ID=1000)
    assert result.returncode == 0
    assert debian.apt() == []


def test_system_deps_updates_once_and_tries_again(debian):
    assert debian.run("absent", STALE=1).returncode == 0
    assert [line.split()[0] for line in debian.apt()] == ["install", "update", "install"]


def test_system_deps_says_when_not_root(debian):
    result = debian.run("absent", USER_ID=1000)
    assert result.returncode == 1
    assert result.stderr.strip() == "system-deps needs root to install absent: sudo make system-deps"
    assert debian.apt() == []


@pytest.mark.parametrize("program", ["apt-get", "dpkg-query"])
def test_system_deps_says_when_not_debian(debian, program):
    result = debian.run("absent", without=(program,))
    assert result.returncode == 1
    assert "Debian's apt-get only" in result.stderr
    assert "absent" in result.stderr


@pytest.mark.parametrize("failing", ["system-deps", "lint", "test", "nothing"])
def test_ci_runs_three_targets_and_stops_at_the_first_failure(tmp_path, failing):
    log = tmp_path / "log"
    write_program(tmp_path / "make", f'#!/bin/sh\necho "$1 $CI" >> {log}\n[ "$1" != {failing} ]\n')
    result = call(ROOT / ".ci/run", PATH=f"{tmp_path}:{os.environ['PATH']}", CI="")
    steps = ["system-deps", "lint", "test"]
    expected = steps[: steps.index(failing) + 1] if failing in steps else steps
    assert log.read_text(encoding="utf-8").split("\n")[:-1] == [f"{step} true" for step in expected]
    assert (result.returncode == 0) == (failing == "nothing")


# Stands in for a Python whose pip downloads one wheel of BYTES bytes and builds a small one.
FAKE_PIP = """#!/bin/sh
[ "$1" = -c ] && { echo 3.12; exit; }
while [ $# -gt 0 ]; do
  case "$1" in
    --dest) head -c "$BYTES" /dev/zero > "$2/large.whl" ;;
    --wheel-dir) echo small > "$2/small.whl" ;;
  esac
  shift
done
"""


@pytest.mark.parametrize(("size", "fits"), [(25_000_000, True), (30_000_001, False)])
def test_gpu_wheels_says_their_size_or_that_they_are_too_large(tmp_path, size, fits):
    python, wheels = write_program(tmp_path / "python", FAKE_PIP), tmp_path / "wheels"
    result = call("make", "gpu-wheels", f"PYTHON={python}", f"WHEELS={wheels}", BYTES=size)
    assert (result.returncode == 0) == fits
    if fits:
        assert sorted(path.name for path in wheels.iterdir()) == ["large.whl", "small.whl"]
        assert "2 wheels for Python 3.12" in result.stdout
        assert "25 MB" in result.stdout
    else:
        assert not wheels.exists()
        assert result.stderr.splitlines()[0] == (
            "the wheels take 30000007 bytes, and must take at most 30000000: large.whl is the largest"
        )


def test_gpu_check_names_what_a_python_lacks(tmp_path):
    bare = write_program(tmp_path / "bare", f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    result = call("make", "gpu-check", f"PYTHON={bare}", f"WHEELS={tmp_path}")
    assert result.returncode != 0
    assert " lacks torch numpy scipy hydra " in result.stderr.splitlines()[0]
    assert "make gpu-wheels PYTHON=3.12" in result.stderr.splitlines()[0]
