"""The public names of the package, which are imported when they are used."""

import subprocess
import sys

import pytest

import benchmark


@pytest.mark.parametrize("name", benchmark.__all__)
def test_public_names_are_there(name):
    assert getattr(benchmark, name).__name__ == name


def test_unknown_names_are_not():
    with pytest.raises(AttributeError, match="module 'benchmark' has no attribute 'nothing'"):
        _ = benchmark.nothing


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, benchmark; print(sorted({'torch', 'monai', 'mlflow', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
