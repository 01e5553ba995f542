"""Pinned packages: fetched once, checked, cached, and a clear line for whatever goes wrong."""

import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.data.embedded import packages
from benchmark.data.embedded.packages import Package, fetch
from benchmark.errors import InputError

METADATA = "Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
# A source archive whose build backend lies in the archive: pip then needs no other package to read its metadata.
PYPROJECT = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
BACKEND = """
from pathlib import Path
def prepare_metadata_for_build_wheel(folder, settings=None):
    place = Path(folder) / "fakesdist-1.0.dist-info"
    place.mkdir()
    (place / "METADATA").write_text("Metadata-Version: 2.1\\nName: fakesdist\\nVersion: 1.0\\n")
    return place.name
def build_wheel(folder, settings=None, metadata=None):
    raise RuntimeError("nobody builds this")
"""


def _wheel(folder: Path) -> Package:
    path = folder / "fakewheel-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("fakewheel/data/image.txt", "image")
        wheel.writestr("fakewheel/data/labels.txt", "labels")
        wheel.writestr("fakewheel/other.txt", "other")
        wheel.writestr("fakewheel-1.0.dist-info/METADATA", METADATA.format(name="fakewheel"))
        wheel.writestr(
            "fakewheel-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr("fakewheel-1.0.dist-info/RECORD", "")
    return _package("fakewheel", path, "fakewheel/data/image.txt", "fakewheel/data/labels.txt")


def _sdist(folder: Path, more: dict[str, str] | None = None) -> Package:
    path = folder / "fakesdist-1.0.tar.gz"
    files = {
        "PKG-INFO": METADATA.format(name="fakesdist"),
        "pyproject.toml": PYPROJECT,
        "backend.py": BACKEND,
        "tests/series/one.dcm": "one",
        "tests/series/two.dcm": "two",
        "tests/other.txt": "other",
    } | (more or {})
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            item = tarfile.TarInfo(f"fakesdist-1.0/{name}")
            item.size = len(text)
            archive.addfile(item, io.BytesIO(text.encode()))
    return replace(_package("fakesdist", path, "tests/series"), source=True)


def _package(name: str, path: Path, *members: str) -> Package:
    return Package(name, "1.0", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), members)


@pytest.fixture
def registry(tmp_path, monkeypatch) -> Path:
    """A folder that stands for the package registry; pip sees nothing else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    return folder


@pytest.fixture
def cache(tmp_path) -> Path:
    """A cache that already holds the wheel's file."""
    folder = tmp_path / "cache"
    folder.mkdir()
    return folder


def _left(cache: Path) -> set[str]:
    """What lies in the cache, locks aside."""
    return {path.name for path in cache.iterdir() if path.suffix != ".lock"}


def test_a_wheel_is_fetched_once(registry, cache, monkeypatch):
    package = _wheel(registry)
    folder = fetch(package, cache=cache)
    assert {path.name for path in folder.rglob("*.txt")} == {"image.txt", "labels.txt"}
    assert (folder / package.members[0]).read_text() == "image"

    def no_more(*args, **kwargs):
        raise AssertionError("a finished folder must be used as it is")

    monkeypatch.setattr(packages.subprocess, "run", no_more)
    assert fetch(package, cache=cache) == folder
    assert _left(cache) == {package.file, folder.name}


def test_a_source_archive_gives_whole_folders_without_its_top_folder(registry, cache):
    folder = fetch(_sdist(registry), cache=cache)
    paths = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert paths == {"tests/series/one.dcm", "tests/series/two.dcm"}


def test_paths_that_leave_the_archive_are_not_unpacked(cache):
    package = replace(_sdist(cache, {"../../escaped.txt": "out"}), members=("escaped.txt",))
    with pytest.raises(InputError, match=r"escaped\.txt not found in \S+fakesdist-1\.0\.tar\.gz"):
        fetch(package, cache=cache)
    assert not list(cache.parent.rglob("escaped.txt"))


def test_a_registry_without_the_package(registry, cache):
    package = _wheel(cache)
    (cache / package.file).unlink()
    with pytest.raises(InputError) as caught:
        fetch(package, cache=cache)
    text = str(caught.value)
    assert text.startswith("cannot download fakewheel==1.0 from the package index: ERROR: ")
    assert f"put {package.file} into {cache}" in text
    assert "\n" not in text
    assert _left(cache) == set()


def test_another_checksum_is_refused_and_the_file_named(registry, cache):
    package = replace(_wheel(cache), sha256="0" * 64)
    with pytest.raises(InputError, match=r"^SHA-256 of \S+ is [0-9a-f]{64}, expected 0{64}; delete the file"):
        fetch(package, cache=cache)
    assert _left(cache) == {package.file}


def test_a_missing_member_is_named(registry, cache):
    package = replace(_wheel(cache), members=("fakewheel/data/image.txt", "fakewheel/data/nothing.txt"))
    with pytest.raises(InputError, match=r"^fakewheel/data/nothing\.txt not found in \S+\.whl$"):
        fetch(package, cache=cache)
    assert _left(cache) == {package.file}


def test_an_interrupted_fetch_goes_on_with_the_cached_file(registry, cache, monkeypatch):
    package = _wheel(registry)
    write = packages._unpack

    def interrupted(package, archive, target):
        write(package, archive, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(packages, "_unpack", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fetch(package, cache=cache)
    assert _left(cache) == {package.file}
    monkeypatch.setattr(packages, "_unpack", write)
    (registry / package.file).unlink()  # from here on the registry has nothing
    assert (fetch(package, cache=cache) / package.members[1]).read_text() == "labels"


def test_other_members_of_one_package_lie_apart(registry, cache):
    package = _wheel(cache)
    other = replace(package, members=("fakewheel/other.txt",))
    first, second = fetch(package, cache=cache), fetch(other, cache=cache)
    assert first != second
    assert (second / "fakewheel/other.txt").is_file()
    assert not (first / "fakewheel/other.txt").exists()
