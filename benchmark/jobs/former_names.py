"""Former dotted names in a user's yaml, which still resolve in this release with a warning."""

import logging
from functools import cache
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, flag_override, open_dict

log = logging.getLogger(__name__)

# former module -> current module
FORMER = {
    "analysis.dashboard": "analysis.dashboards.refresh",
    "analysis.report.speed": "analysis.report.large_study",
    "analysis.report_speed": "analysis.report.large_study",
    "benchmark.ccfv.metrics": "benchmark.ccfv",
    "benchmark.data.decathlon": "benchmark.data.tasks.msd_layout",
    "benchmark.data.derive": "benchmark.data.embedded.deformation",
    "benchmark.data.msd": "benchmark.data.tasks.msd",
    "benchmark.data.nnunet": "benchmark.data.tasks.nnunet",
    "benchmark.data.normalise": "benchmark.data.preprocessing.normalise",
    "benchmark.data.own": "benchmark.data.tasks.labelled_folder",
    "benchmark.data.packages": "benchmark.data.embedded.packages",
    "benchmark.data.planning": "benchmark.data.preprocessing.planning",
    "benchmark.data.preparation": "benchmark.data.preprocessing.preparation",
    "benchmark.data.preprocessed": "benchmark.data.tasks.nnunet",
    "benchmark.data.resampling": "benchmark.data.preprocessing.preparation",
    "benchmark.data.scans": "benchmark.data.embedded.scans",
    "benchmark.data.schemes": "benchmark.data.preprocessing.normalise",
    "benchmark.data.synthetic": "benchmark.data.embedded.synthetic",
    "benchmark.data.tasks.own": "benchmark.data.tasks.msd",  # the only class of it that a yaml could name
    "benchmark.job_cost": "benchmark.performance.threshold",
    "benchmark.passes": "benchmark.scoring.passes",
    "benchmark.perf_rows.class_statistics": "benchmark.performance.operations",
    "benchmark.perf_rows.growth": "benchmark.performance.scaling",
    "benchmark.perf_rows.logme": "benchmark.performance.logme",
    "benchmark.perf_rows.point_features": "benchmark.performance.operations",
    "benchmark.perf_rows.score": "benchmark.performance.score",
    "benchmark.perf_rows.scoring": "benchmark.performance.workload",
    "benchmark.perf_rows.w2_pairs": "benchmark.performance.operations",
    "benchmark.perf_rows.within": "benchmark.performance.threshold",
    "benchmark.performance.scoring": "benchmark.performance.workload",
    "benchmark.sources.architecture": "benchmark.sources.networks.architecture",
    "benchmark.sources.artifact": "benchmark.sources.readers.mlflow",
    "benchmark.sources.budget": "benchmark.sources.pretrained",
    "benchmark.sources.bundle": "benchmark.sources.readers.bundle",
    "benchmark.sources.factory": "benchmark.sources.readers.factory",
    "benchmark.sources.file": "benchmark.sources.readers.own_format",
    "benchmark.sources.nnunet": "benchmark.sources.readers.nnunet",
    "benchmark.sources.pool": "benchmark.sources.pretrained",
    "benchmark.sources.state_dict": "benchmark.sources.readers.state_dict",
    "benchmark.tracking.fetching": "benchmark.tracking.artifacts",
    "benchmark.training.nnunet": "benchmark.training.nnunet.trainer",
    "benchmark.training.nnunet_source": "benchmark.training.nnunet.pretraining",
}


def with_current_names(cfg: DictConfig) -> DictConfig:
    """Replace former names under `_target_` in place, and return the same config."""
    with flag_override(cfg, "readonly", False), open_dict(cfg):
        _rename(cfg)
    return cfg


def current_name(name: str) -> str:
    """Return the current dotted name of a class or function, unchanged if it was not renamed.

    Example:
        >>> current_name("benchmark.data.decathlon.DecathlonTask")
        'benchmark.data.tasks.msd_layout.DecathlonTask'
    """
    module, _, leaf = name.rpartition(".")
    return f"{FORMER[module]}.{leaf}" if module in FORMER else name


def _rename(node: DictConfig | ListConfig) -> None:
    keys: list[Any] = list(node.keys()) if isinstance(node, DictConfig) else list(range(len(node)))
    for key in keys:
        if OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key):
            continue
        value = node[key]
        if isinstance(value, DictConfig | ListConfig):
            _rename(value)
        elif key == "_target_" and (current := current_name(str(value))) != value:
            _warn(str(value), current)
            node[key] = current


@cache
def _warn(former: str, current: str) -> None:
    """Warn once per process."""
    log.warning("_target_: %s is now %s; change your yaml: the next release drops the former name", former, current)
