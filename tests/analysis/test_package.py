"""The package's public names are there and come only when they are asked for."""

import subprocess
import sys

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
