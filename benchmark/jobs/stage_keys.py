"""Job keys of every stage, computed from its config; used by the stages and the planner."""

from collections.abc import Mapping, Sequence

from hydra.utils import get_class, instantiate
from omegaconf import DictConfig

from benchmark.jobs.cli import resolved
from benchmark.jobs.keys import job_key, targets
from benchmark.jobs.suite_settings import LONGER
from benchmark.metric.score import needed

STAGES = "benchmark.sources.networks.stages"  # imported only if a metric reads the network's stages
SPLITTING = {"labelled", "test_share", "fold", "folds", "held_out", "seed"}  # settings of a task that only choose cases


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
    """The key of each seed's fine-tuning; the source's key and the digest of the target's data may be known already."""
    inputs = _pair(cfg, ("target", "trainer", "preparation"), pretrained, data)
    code = targets(inputs)
    # Variants of `sensitivity` share runs with the study. Longer runs do not: their tag would hide them from a study of
    # as many steps.
    inputs |= {"variant": LONGER} if cfg.variant == LONGER else {}
    return {seed: job_key("truth", "benchmark.truth", inputs | {"seed": seed}, code=code) for seed in cfg.seeds}


def score_keys(cfg: DictConfig, *, pretrained: str | None = None, data: str | None = None) -> tuple[str, str]:
    """The job's key, and the key of the pass whose statistics it reads; arguments as in `truth_keys`."""
    inputs = _pair(cfg, ("target", "stream", "preparation"), pretrained, data) | {"amp": cfg.device.amp}
    code = targets(inputs["target"])
    streamed = job_key("score", "benchmark.features.stream", inputs, code=[*code, "benchmark.sources.pairing"])
    metrics = resolved(cfg.metric)
    further = needed(get_class(node["_target_"]) for node in metrics.values())
    wanted = {"pass": streamed, "metric": metrics, "further": {name: resolved(cfg.passes[name]) for name in further}}
    wanted |= {"variant": cfg.variant} if cfg.variant else {}
    code = [*targets(wanted), *stages_code(metrics)]
    return job_key("score", "benchmark.score", wanted, code=code), streamed


def stages_code(metrics: Mapping[str, Mapping[str, object]]) -> list[str]:
    """The module that discovers a network's stages, if one of the metrics, by name and as resolved settings, reads any.

    A metric whose requests need stages says so by its class attribute `reads_stages`.
    """
    classes = [get_class(str(node["_target_"])) for node in metrics.values()]
    return [STAGES] if any(getattr(cls, "reads_stages", False) for cls in classes) else []


def case_pass_key(
    cfg: DictConfig, name: str, *, source: str, preparation: object, channels: int, stages: bool = False
) -> str:
    """The key of what decides a case's statistics in a pass of `score`, in addition to the case's digest.

    Args:
        cfg: The command's config.
        name: Name of the pass: "target", or that of an extra pass.
        source: Key of the source.
        preparation: The preparation of the cases, which may be planned from all of them.
        channels: Their channels.
        stages: Whether a statistic has the network's stages.
    """
    stream = {setting: value for setting, value in resolved(cfg.stream).items() if setting != "cases"}
    further = {setting: value for setting, value in resolved(cfg.passes.get(name, {})).items() if setting != "cases"}
    task = resolved(cfg.source if name == "source" else cfg.target)  # a source's own data are the same for any target
    inputs = {
        "pass": name,
        "further": further,
        "source": source,
        "task": {setting: value for setting, value in task.items() if setting not in SPLITTING},
        "stream": stream,
        "prepared": repr(preparation),
        "channels": channels,
        "amp": cfg.device.amp,
    }
    code = [*targets(task), *targets(further), "benchmark.sources.pairing", *([STAGES] if stages else [])]
    return job_key("score", "benchmark.features.stream", inputs, code=code)


def _pair(cfg: DictConfig, parts: Sequence[str], pretrained: str | None, data: str | None) -> dict[str, object]:
    """The inputs of a job that moves a source to a target, with the given parts of its config."""
    return {name: resolved(cfg[name]) for name in parts} | {
        "source": pretrained or source_key(cfg.source),
        "data": data or instantiate(cfg.target).digest(),
    }
