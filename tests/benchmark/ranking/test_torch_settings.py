"""Torch's global settings after a source's own code changed them."""

import pytest
import torch

from benchmark.ranking.torch_settings import SETTINGS, restored_settings

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
