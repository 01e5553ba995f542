"""Batches: a function of seed and step, the same for any number of workers, from memory and from disk."""

import os
import signal
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.transforms import RandCropByPosNegLabel

from benchmark.data.files.cases import Case
from benchmark.data.prepared.cases import Cases
from benchmark.data.tasks.msd import MsdTask
from benchmark.errors import CaseError, InputError
from benchmark.sources.pretrained import Budget
from benchmark.storage.prepared_settings import PreparedSettings, storing_prepared
from benchmark.training.patches import Patches, batches, random_box
from tests.benchmark.data.conftest import make_msd

BUDGET = Budget(steps=4, batch=2, patch=(8, 10, 12), lr=1e-2)


def _equal(first, second) -> bool:
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(first, second, strict=True))


@pytest.fixture
def msd(tmp_path):
    return make_msd(tmp_path / "Task09_Spleen")


@pytest.fixture
def on_disk(msd, tmp_path):
    """Cases that are read from disk since none fits into memory."""
    with storing_prepared(PreparedSettings(tmp_path / "prepared")):
        cases = MsdTask(msd, test_share=0).cases("train")
        yield Cases(cases.requests, place="folder", store=cases.store, memory_gib=0.0).prepare()


def test_batches_have_the_promised_shapes_and_types(cases):
    for image, labels in batches(cases, budget=BUDGET, seed=0):
        assert (image.shape, image.dtype) == ((2, 1, 8, 10, 12), torch.float32)
        assert (labels.shape, labels.dtype) == ((2, 1, 8, 10, 12), torch.uint8)
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
    assert torch.equal(labels[0, 0], case.labels)


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


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_are_equal_for_any_number_of_workers_from_memory_and_from_disk(on_disk, workers):
    budget = replace(BUDGET, steps=6)
    in_memory = list(batches(list(on_disk), budget=budget, seed=3, workers=0))
    assert _equal(in_memory, batches(on_disk, budget=budget, seed=3, workers=workers))


def test_a_resumed_training_sees_the_rest_and_draws_nothing_before(cases, monkeypatch):
    every = list(batches(cases, budget=BUDGET, seed=3))
    numbers, draw = [], Patches.__getitem__
    monkeypatch.setattr(Patches, "__getitem__", lambda self, number: numbers.append(number) or draw(self, number))
    assert _equal(every[3:], batches(cases, budget=BUDGET, seed=3, start=3))
    assert numbers == [6, 7]


def test_workers_are_used_only_for_cases_that_do_not_fit_into_memory(cases, on_disk):
    assert Patches(cases, BUDGET, 0).workers == 0
    assert Patches(on_disk, BUDGET, 0).workers > 0


def test_dropout_is_not_drawn_by_the_loader(cases):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = torch.rand(3)
        torch.manual_seed(0)
        list(batches(cases, budget=BUDGET, seed=0))
        assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_case_that_cannot_be_read_is_one_line_from_a_worker_too(on_disk, msd, workers):
    for path in (msd / "imagesTr").glob("spleen_*"):
        path.write_bytes(b"nothing")
    for key in on_disk.store.sizes():
        (on_disk.store.place(key) / "image.b2nd").write_bytes(b"nothing")
    with pytest.raises(CaseError, match=r"\Athe files of case \S+ changed after the job had started, such as [^\n]+\Z"):
        list(batches(on_disk, budget=BUDGET, seed=0, workers=workers))


def test_a_killed_worker_is_one_line(cases, monkeypatch):
    monkeypatch.setattr(Patches, "__getitem__", lambda self, number: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(InputError, match=r"a process that reads patches was killed .* set data.workers=0"):
        list(batches(cases, budget=BUDGET, seed=0, workers=1))


def test_boxes_are_drawn_as_monai_draws_them(make_case):
    """How often a voxel is in a patch, over many draws, is as with MONAI's own transform on the whole volume."""
    case = make_case(seed=1, shape=(16, 18, 20))
    patch, draws = (9, 8, 10), 4000
    ours, theirs = np.zeros(case.shape), np.zeros(case.shape)
    random = np.random.RandomState(0)
    crop = RandCropByPosNegLabel(patch, pos=1, neg=1, num_samples=1).set_random_state(seed=0)
    place = torch.arange(case.labels.numel()).reshape(case.shape)
    for _ in range(draws):
        ours[random_box(case, patch, random)] += 1
        flat = torch.as_tensor(crop(place[None], label=case.labels[None])[0])
        theirs.reshape(-1)[flat.flatten().long().numpy()] += 1
    assert ours.sum() == theirs.sum()
    assert np.abs(ours - theirs).max() < 5 * np.sqrt(draws / 2)  # five deviations of a difference of two counts


def test_a_case_of_one_class_is_drawn_from(make_case):
    case = make_case(seed=1, shape=(16, 16, 16))
    for label in (0, 1, 255):
        only = Case("x", case.image, torch.full_like(case.labels, label), case.spacing)
        boxes = Counter(str(random_box(only, (2, 2, 2), np.random.RandomState(seed))) for seed in range(20))
        assert len(boxes) > 5
