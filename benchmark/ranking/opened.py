"""How the sources of a ranking are identified and opened: from their files alone, unless a suite's own are named."""

from dataclasses import dataclass
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.command import resolved
from benchmark.jobs import job_key, targets
from benchmark.sources.checkpoint import Checkpoint
from benchmark.sources.model import Model
from benchmark.sources.pool import PoolSource


@dataclass(frozen=True)
class Opener:
    """Opens sources; the tracking store is opened only for a source that the suite pre-trains itself.

    Attributes:
        tracking: The config of the store.
        cache: Where checkpoints from the store are kept.
    """

    tracking: DictConfig
    cache: Path

    def key(self, node: DictConfig) -> str:
        """What identifies a source."""
        source = instantiate(node)
        settings = resolved(node)
        if not isinstance(source, PoolSource):
            inputs = {"source": settings, "weights": source.digest()}
            return job_key("source", "benchmark.sources.model", inputs, code=targets(settings))
        if not source.budget.steps:
            return job_key("source", "benchmark.sources.pool", {"source": settings}, code=targets(settings))
        from benchmark.pretrain import pretrain_key

        return pretrain_key(node)

    def open(self, node: DictConfig) -> Model:
        """A source's model; one that is never trained, such as `scratch`, is made here.

        Raises:
            InputError: It is not pre-trained yet, or cannot be read.
        """
        source = instantiate(node)
        if not isinstance(source, PoolSource):
            model: Model = source.open()
            return model
        if not source.budget.steps:
            network = source.arch.build(channels=source.channels, classes=source.classes, seed=source.seed)
            return source.model(Checkpoint(network.state_dict(), {}))
        from benchmark.opening import open_source

        return open_source(node, instantiate(self.tracking), self.cache)
