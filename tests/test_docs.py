"""The pages build without a warning, and what the tutorial tells its readers to run does run."""

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TUTORIAL = ROOT / "docs" / "tutorial.md"


@pytest.mark.slow
def test_the_pages_build(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    settings = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=settings)
    assert done.returncode == 0, done.stdout + done.stderr
    methods = (tmp_path / "site" / "reference" / "methods.html").read_text(encoding="utf-8")
    assert "2111.12780" in methods  # GBC's citation, from its docstring
    assert not re.search(r'(src|href)="https?://[^"]*(fonts|cdn|unpkg)', methods)


def test_every_page_is_in_the_navigation():
    named = set(re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8")))
    there = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert there == named


def test_the_tutorial_s_python():
    failed, tried = doctest.testfile(
        str(TUTORIAL), module_relative=False, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    )
    assert tried > 15
    assert failed == 0


@pytest.mark.slow
def test_the_tutorial_s_commands(tmp_path, python_m, empty_store):
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    commands = re.findall(r"^\$ (.*)$", TUTORIAL.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        program, option, module, *arguments = shlex.split(command)
        assert (program, option) == ("python", "-m")
        done = python_m(module, *arguments, cwd=tmp_path)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
    assert "truth: reliability" in done.stdout
