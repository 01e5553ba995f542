import math

import pytest
import torch

from benchmark.ranking.cost import FineTuning, step_seconds


def test_a_budget_of_windows_of_the_source():
    tuning = FineTuning(steps=10, voxels=0, batch=2, seeds=3)
    assert tuning.seconds(0.5, (4, 4, 4)) == pytest.approx(0.5 * 2 * 10 * 3)


def test_timing_a_step_changes_nothing():
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3, padding=1), torch.nn.BatchNorm3d(2)).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert step_seconds(network, channels=1, window=(4, 4, 4), device="cpu") > 0
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_memory_that_is_too_small_is_not_known():
    class Large(torch.nn.Module):
        def forward(self, views):
            raise torch.OutOfMemoryError

    assert math.isnan(step_seconds(Large(), channels=1, window=(4, 4, 4), device="cpu"))
