"""Training: batches from the seed alone, a learning rate that rises and falls, a loss that falls."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import nn

from benchmark.sources.pretrained import Budget
from benchmark.training.loop import batches, schedule, train

BUDGET = Budget(steps=4, batch=2, patch=(8, 10, 12), lr=1e-2)


def _network(*, classes: int = 3, width: int = 4, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv3d(1, width, 3, padding=1), nn.LeakyReLU(), nn.Conv3d(width, classes, 1))


def _equal(first, second) -> bool:
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(first, second, strict=True))


def test_batches_have_the_promised_shapes_and_types(cases):
    for image, labels in batches(cases, budget=BUDGET, seed=0):
        assert (image.shape, image.dtype) == ((2, 1, 8, 10, 12), torch.float32)
        assert (labels.shape, labels.dtype) == ((2, 1, 8, 10, 12), torch.int64)
        assert set(labels.unique().tolist()) <= {0, 1, 2}


def test_there_are_as_many_batches_as_steps(cases):
    assert len(list(batches(cases, budget=BUDGET, seed=0))) == BUDGET.steps
    assert list(batches(cases, budget=replace(BUDGET, steps=0), seed=0)) == []


def test_equal_seeds_give_equal_batches_whatever_else_is_drawn(cases):
    first = list(batches(cases, budget=BUDGET, seed=7))
    torch.manual_seed(123)
    second = []
    for batch in batches(cases, budget=BUDGET, seed=7):
        torch.rand(3)
        second.append(batch)
    assert _equal(first, second)
    assert not _equal(first, batches(cases, budget=BUDGET, seed=8))


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


def test_every_case_is_seen_once_before_any_is_seen_again(make_case):
    """Four constant cases of different brightness, two a batch: each pair of batches shows all four."""
    constant = [make_case(seed=i, shape=(12, 12, 12)) for i in range(4)]
    constant = [replace(case, image=torch.full_like(case.image, float(i))) for i, case in enumerate(constant)]
    budget = Budget(steps=6, batch=2, patch=(12, 12, 12), augment=False)
    shown = [float(one.mean()) for image, _ in batches(constant, budget=budget, seed=0) for one in image]
    for start in range(0, len(shown), 4):
        assert sorted(shown[start : start + 4]) == [0.0, 1.0, 2.0, 3.0]


def test_without_augmentation_a_whole_patch_is_the_case(make_case):
    case = make_case(seed=0, shape=(12, 12, 12))
    budget = Budget(steps=1, batch=1, patch=(12, 12, 12), augment=False)
    image, labels = next(batches([case], budget=budget, seed=0))
    assert torch.equal(image[0], case.image)
    assert torch.equal(labels[0, 0], case.labels.long())


def test_image_and_labels_are_flipped_together(make_case):
    """The image is the labels: so it stays, whatever the flips, up to scale and shift of the whole."""
    case = make_case(seed=0, shape=(12, 12, 12), classes=2)
    case = replace(case, image=case.labels[None].float())
    flips = set()
    for image, labels in batches([case], budget=Budget(steps=12, batch=1, patch=(12, 12, 12)), seed=0):
        middle = (image.max() + image.min()) / 2
        assert torch.equal(image[0, 0] > middle, labels[0, 0] > 0)
        flips.add(labels.numpy().tobytes())
    assert len(flips) > 1


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
