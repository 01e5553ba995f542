"""Job keys of every stage, computed from its config; used by the stages and the planner."""

from hydra.utils import get_class, instantiate
from omegaconf import DictConfig

from benchmark.jobs.cli import resolved
from benchmark.jobs.keys import job_key, targets
from benchmark.metric.score import needed


def prepare_key(task: DictConfig) -> str:
    """The key of the job that prepares a task."""
    settings = resolved(task)
    return job_key("prepare", "benchmark.prepare", {"task": settings}, code=targets(settings))


def pretrain_key(source: DictConfig) -> str:
    """The key of the job that pre-trains a source, which includes its data."""
    settings = resolved(source)
    task = instantiate(source.task)
    inputs = {"source": settings, "data": task.digest() if task else None}
    return job_key("pretrain", "benchmark.pretrain", inputs, code=targets(settings))


def source_key(node: DictConfig) -> str:
    """The key of a source: that of its pre-training, or a hash of its settings and files."""
    source = instantiate(node)
    if not hasattr(source, "digest"):  # pre-trained by the suite
        return pretrain_key(node)
    settings = resolved(node)
    inputs = {"source": settings, "weights": source.digest()}
    return job_key("source", "benchmark.sources.model", inputs, code=targets(settings))


def truth_keys(cfg: DictConfig, *, pretrained: str | None = None, data: str | None = None) -> dict[int, str]:
    """The key of each seed's fine-tuning.

    Args:
        cfg: The command's config.
        pretrained: The source's key, if already known.
        data: The target's digest, if already known.
    """
    settings = {name: resolved(cfg[name]) for name in ("target", "trainer", "preparation")}
    inputs = settings | {
        "source": pretrained or source_key(cfg.source),
        "data": data or instantiate(cfg.target).digest(),
    }
    code = targets(settings)
    return {seed: job_key("truth", "benchmark.truth", inputs | {"seed": seed}, code=code) for seed in cfg.seeds}


def score_keys(cfg: DictConfig, *, pretrained: str | None = None, data: str | None = None) -> tuple[str, str]:
    """The job's key, and the key of the pass whose statistics it reads.

    Args:
        cfg: The command's config.
        pretrained: The source's key, if already known.
        data: The target's digest, if already known.
    """
    inputs = {
        "source": pretrained or source_key(cfg.source),
        "target": resolved(cfg.target),
        "data": data or instantiate(cfg.target).digest(),
        "stream": resolved(cfg.stream),
        "preparation": resolved(cfg.preparation),
        "amp": cfg.device.amp,
    }
    code = targets(inputs["target"])
    streamed = job_key("score", "benchmark.features.stream", inputs, code=[*code, "benchmark.sources.pairing"])
    metrics = resolved(cfg.metric)
    further = needed(get_class(node["_target_"]) for node in metrics.values())
    wanted = {"pass": streamed, "metric": metrics, "further": {name: resolved(cfg.passes[name]) for name in further}}
    wanted |= {"variant": cfg.variant} if cfg.variant else {}
    return job_key("score", "benchmark.score", wanted, code=targets(wanted)), streamed
