"""Training: a learning rate that rises and falls, a loss that falls, a resume that changes no bit."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from benchmark.sources.pretrained import Budget
from benchmark.training.loop import schedule, train

BUDGET = Budget(steps=4, batch=2, patch=(8, 10, 12), lr=1e-2)


def _network(*, classes: int = 3, width: int = 4, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv3d(1, width, 3, padding=1), nn.LeakyReLU(), nn.Conv3d(width, classes, 1))


def test_batches_do_not_depend_on_the_network(cases):
    """Common random numbers: what two networks see in training is the same, bit for bit."""
    seen = []
    for classes, width in ((3, 4), (3, 9)):
        network, inputs = _network(classes=classes, width=width), []
        network.register_forward_pre_hook(lambda module, given, inputs=inputs: inputs.append(given[0].clone()))
        train(network, cases, budget=BUDGET, seed=5)
        seen.append(inputs)
    assert len(seen[0]) == BUDGET.steps
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


def test_the_learning_rate_rises_over_a_tenth_and_falls_to_zero():
    rates = [schedule(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert max(rates) == rates[9] == 1.0
    assert all(a > b for a, b in pairwise(rates[9:]))
    assert 0.0 < rates[-1] < 0.001  # the cosine would reach 0 one step later


@pytest.mark.parametrize("steps", [1, 2, 3, 9, 10, 11])
def test_few_steps_have_a_positive_rate_too(steps):
    assert all(0.0 < schedule(step, steps) <= 1.0 for step in range(steps))


def test_the_optimiser_follows_the_schedule(cases, monkeypatch):
    rates, step = [], torch.optim.AdamW.step

    def recorded(self, *args, **kwargs):
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.AdamW, "step", recorded)
    train(_network(), cases, budget=BUDGET, seed=0)
    assert rates == pytest.approx([BUDGET.lr * schedule(index, BUDGET.steps) for index in range(BUDGET.steps)])


def test_training_lowers_the_loss_on_an_easy_case(make_case):
    case = make_case(seed=0, shape=(16, 16, 16), classes=2)
    case = replace(case, image=case.labels[None].float() * 2.0 - 1.0)  # the class is the brightness
    losses = train(_network(classes=2), [case], budget=Budget(steps=40, patch=(16, 16, 16), lr=3e-2), seed=0)
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_training_is_reproducible_and_its_report_complete(cases):
    reports = []
    networks = [_network(), _network()]
    losses = [
        train(network, cases, budget=BUDGET, seed=3, report=lambda step, loss: reports.append((step, loss)))
        for network in networks
    ]
    assert losses[0] == losses[1]
    assert reports[: BUDGET.steps] == list(zip(range(1, BUDGET.steps + 1), losses[0], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(*[n.state_dict().values() for n in networks], strict=True))
    assert not networks[0].training  # left ready for inference


def test_no_steps_leave_the_weights_as_they_are(cases):
    network = _network()
    before = [parameter.detach().clone() for parameter in network.parameters()]
    assert train(network, cases, budget=replace(BUDGET, steps=0), seed=0) == []
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))


def test_frozen_weights_stay(cases):
    network = _network()
    network[0].requires_grad_(False)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    train(network, cases, budget=BUDGET, seed=0)
    kept = [torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True)]
    assert kept == [True, True, False, False]
