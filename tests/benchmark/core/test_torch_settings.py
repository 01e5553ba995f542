"""Torch's global settings after a block that changed them; how a CUDA device is set up, which needs none to be read."""

import os

import pytest
import torch

from benchmark.core.torch_settings import CUBLAS, SETTINGS, full_precision, restored_settings, training_settings
from benchmark.errors import InputError

CHANGES = {
    "dtype": lambda: torch.set_default_dtype(torch.float64),
    "device": lambda: torch.set_default_device("meta"),
    "gradients": lambda: torch.set_grad_enabled(False),
    "threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "determinism": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "precision": lambda: torch.set_float32_matmul_precision("medium"),
    "cudnn": lambda: setattr(torch.backends.cudnn, "benchmark", not torch.backends.cudnn.benchmark),
    "TF32": lambda: setattr(torch.backends.cudnn, "allow_tf32", not torch.backends.cudnn.allow_tf32),
}


def state():
    return [read() for read, _ in SETTINGS]


@pytest.mark.parametrize("change", CHANGES)
def test_a_setting_is_put_back(change):
    before = state()
    with restored_settings():
        CHANGES[change]()
        assert state() != before
    assert state() == before
    assert torch.ones(1).device.type == "cpu"


def test_a_setting_is_put_back_after_an_error():
    def ends():
        with restored_settings():
            torch.set_default_dtype(torch.float64)
            raise SystemExit

    with pytest.raises(SystemExit):
        ends()
    assert torch.get_default_dtype() == torch.float32


@pytest.fixture
def no_workspace(monkeypatch):
    monkeypatch.setenv(CUBLAS, "to be deleted")
    monkeypatch.delenv(CUBLAS)


def tf32():
    return {torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32}


def test_training_on_cuda_takes_the_fastest_algorithms(no_workspace):
    before = state()
    with training_settings("cuda", deterministic=False):
        assert torch.backends.cudnn.benchmark
        assert tf32() == {True}
        assert not torch.are_deterministic_algorithms_enabled()
        with full_precision("cuda:0"):
            assert tf32() == {False}
        assert tf32() == {True}
    assert state() == before
    assert CUBLAS not in os.environ


def test_deterministic_training_on_cuda_takes_fixed_algorithms(no_workspace):
    before = state()
    with training_settings("cuda:0", deterministic=True):
        assert not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.deterministic
        assert tf32() == {False}
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ[CUBLAS] == ":4096:8"
    assert state() == before


@pytest.mark.parametrize("deterministic", [False, True])
def test_on_a_cpu_nothing_changes(deterministic, no_workspace):
    before = state()
    with training_settings("cpu", deterministic=deterministic), full_precision("cpu"):
        assert state() == before
    assert CUBLAS not in os.environ


@pytest.mark.bad_input
def test_an_operation_without_a_deterministic_implementation_is_named(no_workspace):
    before = state()
    with (
        pytest.raises(
            InputError, match=r"device\.deterministic=true cannot be kept: put_ has no deterministic"
        ) as error,
        training_settings("cuda", deterministic=True),
    ):
        torch.zeros(3).put_(torch.tensor([0]), torch.ones(1))
    assert "\n" not in str(error.value)
    assert state() == before


def test_other_errors_stay_what_they_are(no_workspace):
    with pytest.raises(RuntimeError, match="out of memory"), training_settings("cuda", deterministic=True):
        raise RuntimeError("out of memory")


@pytest.mark.bad_input
def test_a_started_device_cannot_be_made_deterministic(no_workspace, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    with (
        pytest.raises(InputError, match="needs CUBLAS_WORKSPACE_CONFIG=:4096:8 in the environment"),
        training_settings("cuda", deterministic=True),
    ):
        pass
    monkeypatch.setenv(CUBLAS, ":16:8")  # the user's own, which is deterministic too
    with training_settings("cuda", deterministic=True):
        assert os.environ[CUBLAS] == ":16:8"


@pytest.mark.bad_input
def test_deterministic_is_a_boolean():
    with (
        pytest.raises(InputError, match=r"device\.deterministic must be true or false, got maybe"),
        training_settings("cpu", deterministic="maybe"),
    ):
        pass
