"""From a source's config to its model, whether it is pre-trained here or lies on a disk."""

import logging
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.errors import InputError
from benchmark.jobs.stage_keys import pretrain_key
from benchmark.jobs.work_folder import clear_partial
from benchmark.sources.model import Model
from benchmark.sources.pretrained import PoolSource
from benchmark.sources.weights.checkpoint import SIDECAR, Checkpoint, load_checkpoint
from benchmark.tracking import Store

log = logging.getLogger(__name__)


def open_source(node: DictConfig, store: Store, cache: Path) -> Model:
    """A source's model.

    Args:
        node: The source's config.
        store: Where the runs of sources that are pre-trained here lie.
        cache: Where their checkpoints are kept.

    Raises:
        InputError: It is not pre-trained yet, or cannot be read.
    """
    source = instantiate(node)
    if isinstance(source, PoolSource):
        return source.model(fetch_checkpoint(node, store, cache))
    model: Model = source.open()
    return model


def fetch_checkpoint(source: DictConfig, store: Store, cache: Path) -> Checkpoint:
    """A pre-trained source's checkpoint: from the cache, or else from the artifacts of its finished run.

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
            except InputError as error:  # a spoilt copy; the run holds the original
                log.warning("source %s is fetched again: %s", source.name, error)
        clear_partial(folder)
        row = store.find(key)
        if row is None:
            raise InputError(f"source {source.name} must be pre-trained first: run `pretrain source={source.name}`")
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as partial:
            fetched = store.download(row.run, "source", Path(partial))
            checkpoint = load_checkpoint(fetched)
            shutil.rmtree(folder, ignore_errors=True)
            fetched.rename(folder)
        return checkpoint
