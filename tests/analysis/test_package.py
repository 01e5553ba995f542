"""The package's public names are there and come only when they are asked for."""

import subprocess
import sys
from pathlib import Path

import pytest

import analysis


@pytest.mark.parametrize("name", analysis.__all__)
def test_public_names_are_importable(name):
    assert getattr(analysis, name).__doc__


def test_an_unknown_name_is_no_attribute():
    with pytest.raises(AttributeError, match="module 'analysis' has no attribute 'nothing'"):
        analysis.nothing  # noqa: B018


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, analysis; sys.exit(any(name in sys.modules for name in ('scipy', 'pandas', 'matplotlib')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_no_public_name_is_also_a_module():
    # Importing `analysis.x` would put the module in the place of the name.
    folder = Path(analysis.__file__).parent
    modules = {path.stem for path in folder.glob("*.py")} | {path.name for path in folder.iterdir() if path.is_dir()}
    assert not modules & set(analysis.__all__)
