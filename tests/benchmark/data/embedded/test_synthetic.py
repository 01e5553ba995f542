"""Synthetic tasks: in MSD layout, from their seed alone, made once."""

from dataclasses import replace

import pytest
import torch

from benchmark.data.embedded.synthetic import SyntheticTask
from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.errors import InputError

SPLITS = {"source_train": "source_training", "train": "training", "test": "test", "validation": "validation"}
COUNTS = {"source_train": 2, "train": 3, "test": 1, "validation": 2}


@pytest.fixture
def task(tmp_path):
    return SyntheticTask(
        "made",
        tmp_path / "made",
        Normalisation((0.0, 1.0)),
        splits=SPLITS,
        organs=("ball", "pebble"),
        size=20,
        counts=COUNTS,
        seed=4,
    )


def test_it_is_made_once_and_read_like_any_task(task, tmp_path):
    assert task.prepare(tmp_path) is True
    assert task.prepare(tmp_path) is False
    assert task.labels == {0: "background", 1: "ball", 2: "pebble"}
    assert {split: len(task.cases(split)) for split in SPLITS} == COUNTS
    case = task.cases("train")[0]
    assert case.image.shape == (1, 20, 20, 20)
    assert case.spacing == (1.0, 1.0, 1.0)
    assert {path.name for path in task.folder.iterdir()} == {
        "dataset.json",
        "imagesTr",
        "labelsTr",
        "imagesTs",
        "labelsTs",
    }
    assert [path.name for path in task.folder.parent.iterdir()] == ["made"]  # nothing half made is left


def test_equal_seeds_give_equal_volumes(task, tmp_path):
    same, other = (replace(task, folder=tmp_path / name, seed=seed) for name, seed in (("same", 4), ("other", 5)))
    for one in (task, same, other):
        one.prepare(tmp_path)
    assert all(
        torch.equal(a.image, b.image) and torch.equal(a.labels, b.labels)
        for a, b in zip(task.cases("train"), same.cases("train"), strict=True)
    )
    assert not torch.equal(task.cases("train")[0].image, other.cases("train")[0].image)
    assert task.recipe() == same.recipe() != other.recipe()
    assert task.digest() == same.digest() != other.digest()


@pytest.mark.parametrize("change", [{"noise": 0.1}, {"seed": 5}, {"size": 18}], ids=lambda change: next(iter(change)))
def test_other_settings_or_other_code_make_it_anew(task, tmp_path, change):
    task.prepare(tmp_path, code="first")
    before = task.digest()
    assert task.prepare(tmp_path, code="second") is True
    changed = replace(task, **change)
    assert not changed.is_made(code="second")
    assert changed.prepare(tmp_path, code="second") is True
    assert changed.digest() != before


def test_no_two_cases_are_alike(task, tmp_path):
    task.prepare(tmp_path)
    images = [case.image.numpy().tobytes() for split in SPLITS for case in task.cases(split)]
    assert len(set(images)) == len(images)


def test_validation_cases_are_drawn_last(task, tmp_path, compose_command):
    """So that a task has the same other cases with and without them."""
    without = {split: count for split, count in COUNTS.items() if split != "validation"}
    smaller = replace(task, folder=tmp_path / "smaller", counts=without)
    for one in (task, smaller):
        one.prepare(tmp_path)
    for split in without:
        assert all(a.image.equal(b.image) for a, b in zip(task.cases(split), smaller.cases(split), strict=True))
    assert list(compose_command("prepare", "task=synthetic_ball").task.counts)[-1] == "validation"


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("counts", "rest"),
    [
        ("train:2", r"must map splits \(.*\) to numbers of cases, got train:2"),
        (None, r"must map splits \(.*\) to numbers of cases, got None"),
        ({"training": 2}, r"must map splits \(source_train, .*\) to numbers of cases, got \{'training': 2\}"),
        *(
            ({"train": number}, rf"\.train must be a whole number of at least 0, got {number}")
            for number in (-1, 2.5, True)
        ),
    ],
)
def test_numbers_of_cases_that_are_none(task, counts, rest):
    with pytest.raises(InputError, match=f"task {task.name}: counts ?{rest}"):
        replace(task, counts=counts)
