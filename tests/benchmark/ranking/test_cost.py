import pytest
import torch

from benchmark.ranking.cost import FineTuningWork, step_seconds


def test_a_budget_of_windows_of_the_source():
    tuning = FineTuningWork(steps=10, batch=2, seeds=3)
    assert tuning.seconds(0.5, (4, 4, 4)) == pytest.approx(0.5 * 2 * 10 * 3)


def test_timing_a_step_changes_nothing():
    network = torch.nn.Sequential(torch.nn.Conv3d(1, 2, 3, padding=1), torch.nn.BatchNorm3d(2)).eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert step_seconds(network, channels=1, window=(4, 4, 4), device="cpu") > 0
    assert not network.training
    assert all(parameter.grad is None for parameter in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


class Several(torch.nn.Module):
    """Returns what `put` makes of its maps, in training mode."""

    def __init__(self, put):
        super().__init__()
        self.near, self.far = torch.nn.Conv3d(1, 2, 1), torch.nn.Conv3d(1, 2, 1)
        self.put = put

    def forward(self, views):
        maps = self.near(views), self.far(views[..., ::2])
        return self.put(*maps) if self.training else maps[0]


@pytest.mark.parametrize(
    "put",
    [lambda a, b: [a, b], lambda a, b: (a, (b, None)), lambda a, b: {"out": a, "aux": {"coarse": b}, "level": 3}],
    ids=["list", "tuple", "mapping"],
)
def test_all_tensors_of_the_output_are_in_the_step(put):
    network, seen = Several(put), []
    network.near.weight.register_hook(lambda gradient: seen.append("near"))
    network.far.weight.register_hook(lambda gradient: seen.append("far"))
    assert step_seconds(network, channels=1, window=(4, 4, 4), device="cpu") > 0
    assert sorted(seen) == ["far", "far", "near", "near"]  # two steps


def test_an_output_without_gradient_cannot_be_measured():
    network = Several(lambda a, b: {"out": a.detach()})
    with pytest.raises(ValueError, match="the output in training mode holds no tensor that depends on the weights"):
        step_seconds(network, channels=1, window=(4, 4, 4), device="cpu")


def test_a_step_that_fails_leaves_the_network_as_it_was():
    class Large(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm3d(1)

        def forward(self, views):
            self.norm(views)
            raise MemoryError

    network = Large().eval()
    with pytest.raises(MemoryError):
        step_seconds(network, channels=1, window=(4, 4, 4), device="cpu")
    assert not network.training
    assert network.norm.num_batches_tracked == 0
