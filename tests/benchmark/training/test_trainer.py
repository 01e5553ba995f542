"""What each way of tuning trains."""

import pytest
from hydra.utils import instantiate

from benchmark.errors import InputError
from benchmark.training.trainer import TUNE, freeze

EXPECTED = {
    "all": {"input_block", "downsamples", "bottleneck", "upsamples", "output_block"},
    "decoder": {"upsamples", "output_block"},
    "last": {"upsamples.2", "output_block"},
    "head": {"output_block"},
}


@pytest.fixture(scope="module")
def arch(compose_command):
    return instantiate(compose_command("pretrain", "source=scratch", "source.arch.width=4").source.arch)


@pytest.mark.parametrize("tune", TUNE)
def test_only_the_named_parts_train(arch, tune):
    network = arch.build(channels=1, classes=2, seed=0)
    trained = freeze(network, arch, tune=tune)
    expected = {id(p) for part in EXPECTED[tune] for p in network.get_submodule(part).parameters()}
    assert {id(p) for p in trained} == expected
    assert {id(p) for p in network.parameters() if p.requires_grad} == expected


def test_each_way_trains_more_than_the_next(arch):
    network = arch.build(channels=1, classes=2, seed=0)
    counts = [sum(p.numel() for p in freeze(network, arch, tune=tune)) for tune in TUNE]
    assert counts == sorted(counts, reverse=True)
    assert len(set(counts)) == len(TUNE)


def test_every_way_is_tested():
    assert set(EXPECTED) == set(TUNE)


@pytest.mark.bad_input
def test_another_word_is_refused(arch):
    with pytest.raises(InputError, match=r"trainer\.tune must be one of all, decoder, last, head, got everything"):
        freeze(arch.build(channels=1, classes=2, seed=0), arch, tune="everything")
