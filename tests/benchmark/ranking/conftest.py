"""What the tests of a ranking share: the statistics of six small cases through a small network, case by case."""

import pytest
import torch
from hydra.utils import instantiate

from benchmark.features.stream import reduce_stream
from benchmark.sources.networks.network_stages import NetworkStages

CLASSES = 3


@pytest.fixture(scope="session")
def small_network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Conv3d(1, 6, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv3d(6, CLASSES, 1))


@pytest.fixture(scope="session")
def rank_metrics(compose_command):
    """The metrics that `rank` uses by default, one that is normalised over the pool, and one as released."""
    cfg = compose_command("rank", "metric=[ccfv,ccfv_released,logme,gbc,h_score,leep,knn,ncti,topote]")
    metrics = {name: instantiate(node) for name, node in cfg.metric.items()}
    for metric in metrics.values():
        if hasattr(metric, "count"):
            metric.count = 90  # points: enough to see a resample by
        if hasattr(metric, "class_count"):
            metric.class_count = 30
    return metrics


@pytest.fixture(scope="session")
def by_case(small_network, rank_metrics, make_case, tmp_path_factory):
    """Statistics of each of six cases, sorted by name."""
    requests = list(dict.fromkeys(request for metric in rank_metrics.values() for request in metric.requires))
    statistics = []
    for seed in range(6):
        folder = tmp_path_factory.mktemp("spill")
        case = make_case(seed=seed, shape=(14, 12, 13))
        statistics.append(
            reduce_stream(
                small_network,
                ["1"],
                [case],
                requests,
                patch_size=(14, 12, 13),
                classes=CLASSES,
                stages=lambda: NetworkStages({"0": 6}, {"1": 6}),
                folder=folder,
            )
        )
    return statistics
