"""Mixed precision of training: which one a device gets, that it is used, and that the loss is float32."""

import pytest
import torch
from torch import nn

from benchmark.errors import InputError
from benchmark.sources.pretrained import Budget
from benchmark.training.loop import train
from benchmark.training.loss import training_loss
from benchmark.training.precision import autocast, choose_precision

BFLOAT16 = 0.02  # of the loss: 8 bits of mantissa


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("amp", "chosen"), [(False, "float32"), ("float32", "float32"), ("bfloat16", "bfloat16")])
def test_a_named_precision_holds_on_every_device(amp, chosen, device):
    assert choose_precision(amp, device) == chosen


@pytest.mark.parametrize("supported", [True, False])
def test_by_default_only_a_cuda_device_that_computes_in_bfloat16_uses_it(supported, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: supported)
    assert choose_precision(None, "cuda") == ("bfloat16" if supported else "float32")
    assert choose_precision(None, "cpu") == "float32"


@pytest.mark.bad_input
@pytest.mark.parametrize("amp", [True, "float16", "half", ["bfloat16"]])
def test_another_name_is_refused(amp):
    with pytest.raises(InputError, match=r"source\.amp must be null, false, float32 or bfloat16, got "):
        choose_precision(amp, "cpu", setting="source.amp")


def test_training_in_bfloat16_keeps_weights_and_loss_in_float32(make_case):
    cases = [make_case(seed=seed, shape=(16, 16, 16)) for seed in range(2)]
    losses = {}
    for precision, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.LeakyReLU(), nn.Conv3d(4, 3, 1))
        types = set()
        network.register_forward_hook(lambda module, inputs, output, types=types: types.add(output.dtype))
        budget = Budget(steps=6, patch=(12, 12, 12), lr=1e-2)
        losses[precision] = train(network, cases, budget=budget, seed=0, precision=precision)
        assert types == {dtype}
        assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert losses["bfloat16"] != losses["float32"]
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=BFLOAT16)


def test_the_loss_of_bfloat16_logits_is_computed_in_float32():
    logits = torch.randn(2, 3, 8, 8, 8, generator=torch.Generator().manual_seed(0)).bfloat16()
    labels = torch.zeros(2, 1, 8, 8, 8, dtype=torch.int64)
    loss = training_loss([logits, logits[:, :, ::2, ::2, ::2]], labels)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, training_loss([logits.float(), logits[:, :, ::2, ::2, ::2].float()], labels))


def test_full_precision_overrides_nothing():
    with autocast(torch.device("cpu"), "float32"):
        assert not torch.is_autocast_enabled("cpu")
