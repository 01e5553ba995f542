"""A training that was stopped goes on from its kept state to the same bits."""

import pytest
import torch
from torch import nn

from benchmark.data.files.cases import Case
from benchmark.sources.pretrained import Budget
from benchmark.training.loop import train
from benchmark.training.resume import CorruptStateError, Keeper, NoWeightsError, load_weights

BUDGET = Budget(steps=8, batch=2, patch=(8, 8, 8))


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def cases():
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(12, 12, 12, dtype=torch.uint8)
    labels[3:8, 3:8, 3:8] = 1
    images = [torch.rand(1, 12, 12, 12, generator=generator) + labels for _ in range(3)]
    return [Case(f"case{i}", image, labels, (1.0, 1.0, 1.0)) for i, image in enumerate(images)]


def network():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layers = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Dropout(0.3), nn.Conv3d(4, 2, 1))
    return layers.to(memory_format=torch.channels_last_3d)


def stop_after(steps):
    def report(step, loss):
        if step == steps:
            raise StoppedError

    return report


@pytest.mark.parametrize("stop", [1, 5, 8])
def test_a_stopped_training_ends_with_the_same_bits(cases, tmp_path, stop):
    whole = network()
    losses = train(whole, cases, budget=BUDGET, seed=3)
    path = tmp_path / "state" / "training.pt"
    with pytest.raises(StoppedError):
        train(network(), cases, budget=BUDGET, seed=3, keeper=Keeper(path, every=0), report=stop_after(stop))
    assert [one.name for one in path.parent.iterdir()] == ["training.pt"]
    resumed, steps = network(), []
    again = train(
        resumed, cases, budget=BUDGET, seed=3, keeper=Keeper(path, every=0), report=lambda step, _: steps.append(step)
    )
    assert again == losses
    assert steps == list(range(stop + 1, BUDGET.steps + 1))
    assert all(
        torch.equal(a, b) for a, b in zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    )


def test_a_pause_keeps_its_weights_while_the_training_continues(cases, tmp_path):
    """Of the steps at which it paused, the last two are on disk: in the state, and in a file of its own."""
    path, at = tmp_path / "training.pt", {}
    for until in (2, 4):
        paused = network()
        train(paused, cases, budget=BUDGET, seed=3, keeper=Keeper(path), until=until)
        at[until] = paused.state_dict()
    with pytest.raises(StoppedError):
        train(network(), cases, budget=BUDGET, seed=3, keeper=Keeper(path, every=0), report=stop_after(6))
    loaded = network()
    load_weights(loaded, tmp_path, steps=4)
    assert all(torch.equal(at[4][name], tensor) for name, tensor in loaded.state_dict().items())
    load_weights(loaded, tmp_path, steps=6)
    assert not all(torch.equal(at[4][name], tensor) for name, tensor in loaded.state_dict().items())
    with pytest.raises(NoWeightsError, match="no weights after 2 steps"):
        load_weights(loaded, tmp_path, steps=2)


def test_nothing_is_written_before_it_is_time(cases, tmp_path):
    train(network(), cases, budget=BUDGET, seed=3, keeper=Keeper(tmp_path / "training.pt", every=3600))
    assert list(tmp_path.iterdir()) == []


def test_training_leaves_torch_s_own_generator_alone(cases):
    before = torch.get_rng_state()
    train(network(), cases, budget=BUDGET, seed=3)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.bad_input
@pytest.mark.parametrize("content", [b"", b"no state", "other network"])
def test_a_corrupt_state_is_reported_in_one_line(cases, tmp_path, content):
    path = tmp_path / "training.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        other = nn.Sequential(nn.Conv3d(1, 2, 1))
        train(other, cases, budget=BUDGET, seed=0, keeper=Keeper(path, every=0))
    with pytest.raises(
        CorruptStateError,
        match=r"corrupt training checkpoint .*training\.pt \(.+\); deleted, run again to train from scratch",
    ):
        train(network(), cases, budget=BUDGET, seed=3, keeper=Keeper(path))
    assert not path.exists()
