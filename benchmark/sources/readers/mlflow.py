"""Read a source from MLflow: an artifact of a run or a registered model, downloaded once and then recognised."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from filelock import FileLock
from hydra.utils import instantiate

from benchmark.sources.model import Model
from benchmark.sources.protocol import Source
from benchmark.sources.readers.recognise import recognise_folder
from benchmark.storage.digest import text_digest
from benchmark.storage.files import partial_folder

Fetch = Callable[[str, Path], Path]


@dataclass(frozen=True)
class ArtifactSource:
    """An artifact in MLflow.

    Attributes:
        name: The source's name.
        path: `mlflow-artifacts:/...`, `runs:/RUN/PATH` or `models:/NAME/VERSION`.
        fetch: `fetch(path, folder)` downloads the artifact into a folder and returns its path.
        folder: The folder of downloaded artifacts.
        trust: Allow its files to name classes and expressions of their own.
    """

    name: str
    path: str
    fetch: Fetch
    folder: str | Path
    trust: bool = False

    def digest(self) -> str:
        """SHA-256 over the files of the source."""
        return self._source.digest()

    def open(self) -> Model:
        """Download and read the artifact.

        Raises:
            InputError: The artifact cannot be downloaded, recognised or read.
        """
        model = self._source.open()
        return replace(model, name=self.name, facts={**model.facts, "artifact": self.path})

    @cached_property
    def _source(self) -> Source:
        node = recognise_folder(self._place(), trust=self.trust, where=self.path)
        source: Source = instantiate({**node, "name": self.name}, _convert_="all")
        return source

    def _place(self) -> Path:
        """Its folder on disk; an address whose target may change, such as an alias, is downloaded again."""
        kept = Path(self.folder) / text_digest(self.path)[:16]
        kept.parent.mkdir(parents=True, exist_ok=True)
        moves = self.path.startswith("models:/") and not self.path.rpartition("/")[2].isdigit()
        with FileLock(f"{kept}.lock"):
            is_stored = kept.is_dir() and any(kept.iterdir())
            if is_stored and not moves:
                return kept
            with partial_folder(kept) as partial:
                self.fetch(self.path, partial)
        return kept
