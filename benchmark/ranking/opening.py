"""How a ranking identifies and opens its sources; one that is never trained, such as `scratch`, needs no store."""

from dataclasses import dataclass
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from benchmark.jobs.cli import resolved
from benchmark.jobs.keys import job_key, targets
from benchmark.jobs.stage_keys import source_key
from benchmark.sources.model import Model
from benchmark.sources.opening import open_source
from benchmark.sources.pretrained import PoolSource
from benchmark.sources.weights.checkpoint import Checkpoint
from benchmark.tracking import Store


@dataclass(frozen=True)
class Opener:
    """Opens sources.

    Attributes:
        store: Where those lie that a suite pre-trains itself; not opened for others.
        cache: Where checkpoints from the store are kept.
    """

    store: Store
    cache: Path

    def key(self, node: DictConfig) -> str:
        """What identifies a source."""
        if not isinstance(instantiate(node), PoolSource):
            nameless = OmegaConf.create({**resolved(node), "name": ""})  # a name changes with what else is in the pool
            return source_key(nameless)
        if _untrained(node) is None:
            return source_key(node)
        settings = resolved(node)
        return job_key("source", "benchmark.sources.pretrained", {"source": settings}, code=targets(settings))

    def open(self, node: DictConfig) -> Model:
        """A source's model.

        Raises:
            InputError: It is not pre-trained yet, or cannot be read.
        """
        source = _untrained(node)
        if source is None:
            return open_source(node, self.store, self.cache)
        network = source.arch.build(channels=source.channels, classes=source.classes, seed=source.seed)
        return source.model(Checkpoint(network.state_dict(), {}))


def _untrained(node: DictConfig) -> PoolSource | None:
    """The source, if its weights are the initial ones."""
    source = instantiate(node)
    return source if isinstance(source, PoolSource) and not source.budget.steps else None
