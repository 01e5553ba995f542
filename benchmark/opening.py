"""From a source's config to its key and its model, whether it is pre-trained here or lies on a disk."""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.command import resolved
from benchmark.jobs import job_key, targets
from benchmark.pretrain import fetch_checkpoint, pretrain_key
from benchmark.sources.model import Model
from benchmark.sources.pool import PoolSource
from benchmark.tracking import Store


def source_key(node: DictConfig) -> str:
    """What identifies a source: the key of its pre-training, or its settings with the digest of its files."""
    source = instantiate(node)
    if isinstance(source, PoolSource):
        return pretrain_key(node)
    settings = resolved(node)
    inputs = {"source": settings, "weights": source.digest()}
    return job_key("source", "benchmark.sources.model", inputs, code=targets(settings))


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
