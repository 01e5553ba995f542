"""Choices of Hydra's store that its copies share."""

import copy

import pytest
from hydra.core.config_store import ConfigStore

from benchmark.jobs.cli import prepare_config


@pytest.fixture
def store(quiet_process):
    with quiet_process():
        prepare_config()
        yield ConfigStore.instance()


@pytest.mark.parametrize("path", ["source/liver_unet.yaml", "target/msd.yaml", "_metrics.yaml"])
def test_a_copy_of_the_store_has_the_same_choice_and_what_is_loaded_is_a_copy(store, path):
    *groups, name = path.split("/")
    choice, copied = store.repo, copy.deepcopy(store).repo
    for group in (*groups, name):
        choice, copied = choice[group], copied[group]
    assert copied is choice
    loaded = store.load(path)
    assert loaded.node == choice.node
    assert loaded.node is not choice.node
    loaded.node["added"] = 1
    assert "added" not in choice.node


def test_what_a_copy_of_the_store_is_given_the_store_does_not_have(store):
    copied = copy.deepcopy(store)
    copied.store(group="source", name="new", node={"a": 1})
    assert "new.yaml" not in store.repo["source"]
