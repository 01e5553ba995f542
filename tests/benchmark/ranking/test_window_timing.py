"""One window is forwarded a few times, and everything else is timed by replaying it. No time is asserted."""

from dataclasses import astuple
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.data.files.cases import Case
from benchmark.ranking.case_passes import StreamSettings
from benchmark.ranking.window_timing import REPEATS, time_window
from benchmark.sources.networks.network_stages import NetworkStages


class Counted(nn.Module):
    """A network with a tap inside another tap, which counts the windows that go through it."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv3d(4, 6, 1))
        self.head = nn.Conv3d(6, 3, 1)
        self.windows = 0

    def forward(self, views):
        self.windows += len(views)
        return self.head(self.body(views))


@pytest.fixture
def timed(rank_metrics, make_case, tmp_path):
    def run(case, window=(8, 8, 8), metrics=("logme", "leep", "knn", "ccfv")):
        network = Counted().eval()
        model = SimpleNamespace(arch=SimpleNamespace(taps=("body.1", "body"), name="counted"), head=True)
        opened = SimpleNamespace(
            pair=SimpleNamespace(model=model),
            network=network,
            cases=SimpleNamespace(reader=lambda index: case),
            window=window,
            stages=NetworkStages({"body.0": 4}, {"body": 6}),
        )
        chosen = {name: rank_metrics[name] for name in metrics}
        requests = list(dict.fromkeys(request for metric in chosen.values() for request in metric.requires))
        stream = StreamSettings(window=window, overlap=0.25, batch=2, device="cpu")
        timing = time_window(opened, requests, chosen, stream=stream, classes=3, folder=tmp_path)
        return timing, network.windows

    return run


@pytest.mark.parametrize("shape", [(20, 17, 18), (8, 8, 8), (6, 5, 7)])
def test_one_window_is_forwarded_and_all_is_timed(timed, make_case, tmp_path, shape):
    whole = make_case(shape=(20, 17, 18))
    part = tuple(slice(8, 8 + side) for side in shape) if shape[0] < 20 else (slice(None),) * 3
    case = Case("a", whole.image[(slice(None), *part)], whole.labels[part], whole.spacing)
    timing, windows = timed(case, metrics=("logme", "leep", "knn"))
    assert 1 <= windows <= 1 + 2 * REPEATS
    assert timing.forward > 0
    assert timing.scores > 0
    assert timing.softmax > 0
    assert timing.peak_memory_mb > 0
    assert (np.array(astuple(timing)) >= 0).all()
    assert list(tmp_path.iterdir()) == []


def test_metrics_that_read_no_softmax_cost_nothing_for_it(timed, make_case):
    timing, _ = timed(make_case(shape=(20, 17, 18)), metrics=("logme",))
    assert timing.softmax == 0


def test_stages_are_replayed_with_the_taps(timed, make_case):
    timing, _ = timed(make_case(shape=(20, 17, 18)), metrics=("logme", "topote"))
    assert timing.point_draw > 0


def test_a_case_without_foreground_is_timed(timed, make_case):
    case = make_case(shape=(20, 17, 18))
    case.labels.zero_()
    timing, _ = timed(case, metrics=("logme", "knn"))
    assert timing.forward > 0


def test_what_a_network_raises_is_passed_on(timed, make_case, monkeypatch):
    def fails(self, views):
        raise RuntimeError("no such window")

    monkeypatch.setattr(Counted, "forward", fails)
    with pytest.raises(RuntimeError, match="no such window"):
        timed(make_case(shape=(20, 17, 18)))
    assert torch.is_grad_enabled()
