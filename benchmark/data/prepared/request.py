"""What a prepared case is made of, and the key that follows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import version
from math import isfinite, prod

from benchmark.data.files.cases import Case, CaseFiles, of_case
from benchmark.data.files.read_image import estimated_voxels
from benchmark.errors import InputError
from benchmark.jobs.keys import job_key

KEY_DIGITS = 32  # of the folder's name
# packages that read, resample and write cases
PACKAGES = ("blosc2", "nibabel", "nnunetv2", "numpy", "scikit-image", "scipy", "simpleitk", "torch")


@dataclass(frozen=True)
class CaseRequest:
    """A case to be prepared.

    Attributes:
        files: The files of the case.
        read: Reads and prepares the case; a function that can be pickled.
        settings: What `read` depends on besides the files, as plain data: it decides on the key.
        module: The module of `read`, whose code is part of the key.
        channels: Channels of the prepared image.
        spacing: mm of the prepared volume, two or three numbers; None: as stored.
    """

    files: CaseFiles
    read: Callable[[CaseFiles], Case]
    settings: Mapping[str, object]
    module: str
    channels: int
    spacing: tuple[float, ...] | None

    @property
    def name(self) -> str:
        """The case's name."""
        return self.files.name

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the case's files when the request was first used.

        Raises:
            CaseError: A file does not exist.
        """
        with of_case():
            return self.files.digest()

    @cached_property
    def key(self) -> str:
        """The name of the prepared case's folder; errors as in `digest`."""
        inputs = {"files": self.digest, "settings": self.settings, "versions": _versions()}
        code = ("benchmark.data.prepared.case_folder",)
        return job_key("prepared", self.module, inputs, code=code)[:KEY_DIGITS]

    def prepare(self) -> Case:
        """Read and prepare the case.

        Raises:
            CaseError: The files are faulty, or are not those of the key any more.
        """
        expected = self.digest
        try:
            return self.read(self.files)
        finally:
            with of_case():
                if self.files.digest() != expected:
                    raise InputError(f"the files of case {self.name} changed after the job had started, such as "
                                     f"{self.files.labels}; run it again")  # fmt: skip

    @cached_property
    def estimated_bytes(self) -> int:
        """Bytes of the prepared arrays before compression, by the headers of the files; 0 if they cannot be read."""
        try:
            voxels, stored = estimated_voxels(self.files.images[0])
        except InputError:
            return 0
        planned = self.spacing or stored or (1.0,)
        growth = prod(stored[: len(planned)]) / prod(planned) if stored else 1.0
        if not isfinite(growth) or growth <= 0:
            return 0  # reading the case names the fault
        return int(voxels * growth) * (4 * self.channels + 1)


@cache
def _versions() -> tuple[str, ...]:
    """Versions of `PACKAGES`; to read one takes milliseconds, and every case asks."""
    return tuple(version(name) for name in PACKAGES)
