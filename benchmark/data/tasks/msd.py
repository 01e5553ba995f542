"""Tasks of MSD, the Medical Segmentation Decathlon, in a folder as downloaded.

MSD (Antonelli et al., Nature Communications 2022) does not publish the labels of its test cases, so its labelled cases,
`training`, are split by a seed.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from benchmark.data.files.cases import CaseFiles
from benchmark.data.files.description import Description, Labelling, NnunetLabels, plain_labelling
from benchmark.data.tasks.labelled_folder import PlannedTask
from benchmark.data.tasks.msd_layout import listed_pairs, read_msd_description
from benchmark.errors import InputError, one_line

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MsdTask(PlannedTask):
    """A folder such as Task09_Spleen.

    Attributes:
        download: Whether MONAI downloads a missing folder; the archive is verified by its MD5.
    """

    download: bool = False

    @cached_property
    def description(self) -> Description:
        """The content of dataset.json."""
        if self.download:
            fetch(Path(self.folder))
        return read_msd_description(Path(self.folder))

    @property
    def labelling(self) -> Labelling:
        """The label values of dataset.json, which are the classes."""
        return plain_labelling(self.description["labels"])

    @property
    def nnunet_labels(self) -> NnunetLabels:
        """Name -> value, with the name background for 0."""
        return {name if value else "background": value for value, name in self.labels.items()}

    @property
    def channel_names(self) -> Mapping[str, str]:
        """The modalities of dataset.json."""
        stated = self.description.get("modality")
        return {str(channel): str(name) for channel, name in stated.items()} if isinstance(stated, dict) else {}

    def prepare(self, cache: Path, *, code: str = "") -> bool:
        """Download the folder if it is missing and `download` is set, and check that every case exists."""
        existed = self.is_made()
        super().prepare(cache, code=code)
        return not existed

    def labelled_cases(self) -> list[CaseFiles]:
        """The cases of `training`, without the hidden files that macOS adds."""
        pairs = listed_pairs(self.folder, self.description, "training", links=self.links)
        return [case for case in pairs if not case.name.startswith(".")]


def fetch(folder: Path) -> None:
    """Download an MSD data set and unpack it to its folder, unless the folder exists.

    Raises:
        InputError: MONAI has no data set of the folder's name, or the download fails.
    """
    from monai.apps import DecathlonDataset, download_and_extract

    if (folder / "dataset.json").is_file():
        return
    if folder.name not in DecathlonDataset.resource:
        known = ", ".join(DecathlonDataset.resource)
        raise InputError(f"the folder must be named one of {known} for download=true, got {folder.name}")
    url, md5 = DecathlonDataset.resource[folder.name], DecathlonDataset.md5[folder.name]
    folder.parent.mkdir(parents=True, exist_ok=True)
    archive = folder.parent / f"{folder.name}.tar"
    with FileLock(f"{archive}.lock"):
        if (folder / "dataset.json").is_file():
            return
        log.info("fetching %s", url)
        try:
            download_and_extract(url, archive, folder.parent, hash_val=md5, hash_type="md5", progress=False)
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f"cannot download {folder} from {url}: {one_line(error)}") from error
