"""Open a source from its config: a source pre-trained here, or a checkpoint on disk."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import cast

from filelock import FileLock
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from benchmark.errors import InputError
from benchmark.jobs.cli import resolved
from benchmark.jobs.keys import job_key, targets
from benchmark.jobs.stage_keys import pretrain_key, source_key
from benchmark.sources.model import Model
from benchmark.sources.pretrained import PoolSource
from benchmark.sources.weights.checkpoint import SIDECAR, Checkpoint, load_checkpoint
from benchmark.storage.files import clear_partial, partial_folder
from benchmark.tracking import Store

log = logging.getLogger(__name__)


def open_source(node: DictConfig, store: Store, cache: Path) -> Model:
    """Open a source from its config; those pre-trained here are in a run of the store, or in the cache of checkpoints.

    Raises:
        InputError: The source is not pre-trained yet, or cannot be read.
    """
    source = instantiate(node)
    if isinstance(source, PoolSource):
        return source.model(fetch_checkpoint(node, store, cache))
    return cast("Model", source.open())


def fetch_checkpoint(source: DictConfig, store: Store, cache: Path) -> Checkpoint:
    """Load a pre-trained source's checkpoint from the cache, or else from the artifacts of its finished run.

    Raises:
        InputError: The source has no finished run.
    """
    key = pretrain_key(source)
    folder = cache / "sources" / key[:16]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if (folder / SIDECAR).is_file():
            try:
                return load_checkpoint(folder)
            except InputError as error:  # a corrupt copy; the run has the original
                log.warning("source %s is fetched again: %s", source.name, error)
        clear_partial(folder)
        row = store.find(key)
        if row is None:
            command = f"python -m benchmark.pretrain source={source.name}"
            raise InputError(f"source {source.name} is not pre-trained; run `{command}` first")
        with partial_folder(folder) as partial:
            store.download(row.run, "source", partial.parent).replace(partial)
            return load_checkpoint(partial)


def open_model(node: DictConfig, store: Store, cache: Path) -> Model:
    """A source's model; one that is never trained, such as `scratch`, needs no store.

    Raises:
        InputError: It is not pre-trained yet, or cannot be read.
    """
    source = instantiate(node)
    if not isinstance(source, PoolSource) or source.budget.steps:
        return open_source(node, store, cache)
    network = source.arch.build(channels=source.channels, classes=source.classes, seed=source.seed)
    return source.model(Checkpoint(network.state_dict(), {}))


def files_digest(node: DictConfig) -> str | None:
    """Digest of a source's files; None without files, and for files that cannot be read."""
    with suppress(InputError, OSError):
        source = instantiate(node)
        return None if isinstance(source, PoolSource) else str(source.digest())
    return None


def source_identity(node: DictConfig) -> str:
    """The key of a source, whatever its name: a name changes with what else is in the pool."""
    source, settings = instantiate(node), resolved(node)
    if not isinstance(source, PoolSource):
        return source_key(OmegaConf.create({**settings, "name": ""}))
    if source.budget.steps:
        return source_key(node)
    return job_key("source", "benchmark.sources.pretrained", {"source": settings}, code=targets(settings))
