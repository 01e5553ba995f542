"""Read a source from MLflow: an artifact of a run or a registered model, downloaded once and then recognised."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import cast

from filelock import FileLock
from hydra.utils import instantiate

from benchmark.sources.model import Model, Source
from benchmark.sources.readers.candidates import Candidate, Contents
from benchmark.sources.readers.folder_search import recognise_folder
from benchmark.storage.digest import text_digest
from benchmark.storage.files import partial_folder

ADDRESS = re.compile(r"(mlflow-artifacts|runs|models):/\S.*")
Fetch = Callable[[str, Path], Path]


@dataclass(frozen=True)
class Artifacts:
    """Where artifacts come from and go to.

    Attributes:
        uri: The tracking address; None for MLflow's own setting.
        folder: The folder of downloaded artifacts, as in conf/source/mlflow.yaml.
    """

    uri: str | None = None
    folder: str | Path = "outputs/fetched"


DEFAULT = Artifacts()


@dataclass(frozen=True)
class ArtifactSource:
    """An artifact in MLflow; attributes not listed as in `Reader`.

    Attributes:
        path: `mlflow-artifacts:/...`, `runs:/RUN/PATH` or `models:/NAME/VERSION`.
        fetch: `fetch(path, folder)` downloads the artifact into a folder and returns its path.
        folder: The folder of downloaded artifacts.
    """

    name: str
    path: str
    fetch: Fetch
    folder: str | Path
    trust: bool = False

    @classmethod
    def recognises(cls, path: str, artifacts: Artifacts = DEFAULT) -> Contents | None:
        """Recognise an MLflow address."""
        if not ADDRESS.fullmatch(path):
            return None
        parts = path.rstrip("/").split("/")
        names = tuple("/".join(parts[-count:]) for count in range(1, len(parts) + 1))
        fetch = {"_target_": "benchmark.tracking.artifacts.fetch_artifact", "_partial_": True, "uri": artifacts.uri}
        return Contents(Candidate(cls, {"path": path, "fetch": fetch, "folder": str(artifacts.folder)}, names))

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
        """The source on disk; an address whose target may change, such as an alias, is downloaded again."""
        store = self.fetch.keywords.get("uri") if isinstance(self.fetch, partial) else None  # whose names differ
        kept = Path(self.folder) / text_digest(f"{store} {self.path}")[:16]
        kept.parent.mkdir(parents=True, exist_ok=True)
        moves = self.path.startswith("models:/") and not self.path.rpartition("/")[2].isdigit()
        with FileLock(f"{kept}.lock"):
            if moves or not kept.is_dir() or not any(kept.iterdir()):
                with partial_folder(kept) as incomplete:
                    self.fetch(self.path, incomplete)
        node = recognise_folder(kept, trust=self.trust, where=self.path)
        return cast("Source", instantiate({**node, "name": self.name}, _convert_="all"))
