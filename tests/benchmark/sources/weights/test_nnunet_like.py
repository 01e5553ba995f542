"""STU-Net and Primus in the form of public files, opened as sources: they compute what the public classes compute."""

import re
from functools import partial

import numpy as np
import pytest
import torch
from hydra.utils import instantiate

from benchmark.errors import InputError
from benchmark.sources.networks.primus import Primus
from benchmark.sources.networks.skeleton import skeleton
from benchmark.sources.networks.stunet import STUNet
from benchmark.sources.readers.recognise import recognise
from benchmark.sources.weights.families import FAMILIES
from tests.benchmark.sources.weights.check_weights import check_model, facts_of, filled, layout_digest, save_as_public

PUBLISHED = [[2, 2, 2]] * 4 + [[1, 1, 2]]
CUBES = [[2, 2, 2]] * 5
SMALL, BASE = [16, 32, 64, 128, 256, 256], [32, 64, 128, 256, 512, 512]
FIRST = {  # nnU-Net v1's model files
    "wrapper": "state_dict",
    "others": {"epoch": 4000, "optimizer_state_dict": None, "lr_scheduler_state_dict": None,
               "plot_stuff": ([0.5], [0.4], [], []), "best_stuff": (0.9, 0.4, 0.3), "amp_grad_scaler": {"scale": 1.0}},
}  # fmt: skip
SECOND = {  # nnU-Net v2's, without the description of its training
    "wrapper": "network_weights",
    "others": {"optimizer_state": {}, "grad_scaler_state": None, "logging": {"mean_fg_dice": [np.float64(0.5)]},
               "_best_ema": 0.5, "current_epoch": 4000},
}  # fmt: skip
NARROW = {"embed_dim": 72, "patch_size": (8, 8, 8), "depth": 2, "num_heads": 6, "mlp_dim": 192}


def stunet(widths, *, blocks=1, strides=PUBLISHED):
    return partial(STUNet, widths=widths, blocks=[blocks] * len(widths), strides=strides)


def public_weights(network, family, *, classes):
    """Weights by the rule for a network whose names and shapes are those of the facts."""
    built = skeleton(network, channels=1, classes=classes).state_dict(keep_vars=True)
    facts = facts_of(family)
    assert layout_digest(built) == facts["layout"]
    return filled({name: torch.empty(tensor.shape) for name, tensor in built.items()}), facts["checks"]


def opened(path, **settings):
    node = recognise(path)
    return instantiate(node | ({"settings": settings} if settings else {})).open()


@pytest.mark.parametrize(
    ("family", "widths", "form", "check", "strides"),
    [("stunet_small", SMALL, FIRST, "check", None), ("stunet_base", BASE, SECOND, "check", None),
     ("stunet_small", SMALL, SECOND, "check_strides_2_five_times", CUBES)],
)  # fmt: skip
def test_stu_net_computes_what_the_public_class_computes(family, widths, form, check, strides, tmp_path):
    weights, checks = public_weights(stunet(widths), family, classes=105)
    path = save_as_public(tmp_path / "small_ep4k.pth", weights, **form)
    model = opened(path, **({"strides": strides} if strides else {}))
    check_model(model, checks[check])
    assert (model.classes, model.channels, model.head) == (105, 1, True)
    assert model.arch.taps == tuple(f"conv_blocks_localization.{stage}" for stage in (2, 3, 4))
    assumed = f"assumed, since no tensor shows it: strides = {PUBLISHED}"
    assert (assumed in model.notes) == (strides is None)


def test_the_large_stu_net_has_more_blocks_and_another_number_of_strides_is_fitted(tmp_path):
    network = stunet([4, 8, 8, 16, 16, 16], blocks=3, strides=[[2, 2, 2]] * 2)(2, 3).eval()
    path = save_as_public(tmp_path / "huge.pth", network.state_dict())
    model = opened(path, strides=[[2, 2, 2]] * 2)
    image = torch.randn(1, 2, 16, 24, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(model.network()(image), network(image))
    assert model.arch.fit((17, 8, 8)) == (20, 8, 8)


@pytest.mark.parametrize("strides", [[[2, 2]], [[0, 2, 2]], "2", [["a", 2, 2]]])
def test_strides_that_are_not_positive_numbers_are_refused(strides, tmp_path):
    path = save_as_public(tmp_path / "a.pth", stunet([4] * 6)(1, 2).state_dict())
    with pytest.raises(InputError, match="STUNet does not take the settings"):
        opened(path, strides=strides)


def test_primus_m_computes_what_the_public_class_computes(tmp_path):
    sizes = {"embed_dim": 864, "patch_size": (8, 8, 8), "depth": 16, "num_heads": 12, "mlp_dim": 2304}
    weights, checks = public_weights(partial(Primus, img_size=(16, 24, 32), **sizes), "primus_m", classes=2)
    path = save_as_public(tmp_path / "primus.pth", weights, **SECOND)
    model = opened(path, img_size=[16, 24, 32])
    check_model(model, checks["check"])
    assert (model.arch.size, model.arch.taps, model.head) == ((16, 24, 32), ("tokens",), True)
    assert "assumed, since no tensor shows it: num_heads = 12" in model.notes


class Autoencoder(torch.nn.Module):
    """nnssl's masked autoencoder without masking: tokens are numbered by the second axis, the first, the third."""

    def __init__(self, size):
        super().__init__()
        parts = Primus(1, 1, img_size=size, **NARROW)
        self.mask_token = torch.nn.Parameter(torch.zeros(1, 1, 72))
        self.down_projection, self.eva, self.up_projection = parts.down_projection, parts.eva, parts.up_projection
        self.decoder = Primus(1, 1, img_size=size, **{**NARROW, "depth": 1}).eva

    def forward(self, image):
        """The encoder's map."""
        grid = self.down_projection(image)
        b, c, first, second, third = grid.shape
        tokens = self.eva(grid.permute(0, 3, 2, 4, 1).reshape(b, -1, c))
        return tokens.reshape(b, second, first, third, c).permute(0, 4, 2, 1, 3)


def autoencoder(size):
    network = Autoencoder(size)
    network.load_state_dict(filled(network.state_dict()))
    return network.eval()


def map_of_tokens(model, image):
    maps, network = [], model.network()
    network.get_submodule(model.arch.taps[-1]).register_forward_hook(lambda *call: maps.append(call[2]))
    with torch.no_grad():
        network(image)
    return maps[0]


def test_primus_pre_trained_as_an_autoencoder_has_its_order_of_tokens(tmp_path):
    network = autoencoder((16, 24, 32))
    path = save_as_public(tmp_path / "mae.pth", network.state_dict(), **SECOND)
    model = opened(path, img_size=[16, 24, 32], num_heads=6)
    image = torch.randn(1, 1, 16, 24, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(map_of_tokens(model, image), network(image), atol=1e-5)
    plain = opened(path, img_size=[16, 24, 32], num_heads=6, swap_axes=False)
    assert not torch.allclose(map_of_tokens(plain, image), map_of_tokens(model, image), atol=1e-2)
    assert not model.head
    assert any(note.startswith("pre-trained as a masked autoencoder") for note in model.notes)
    assert any("first two axes of their grid swapped" in note for note in model.notes)


@pytest.mark.parametrize(
    ("size", "given", "message"),
    [((16, 24, 32), {"num_heads": 6}, "no tensor shows img_size of Primus; give it as settings.img_size"),
     ((16, 16, 16), {}, "no tensor shows num_heads of Primus; give it as settings.num_heads"),
     ((16, 16, 16), {"num_heads": 5}, "Primus does not take the settings|assert|rope"),
     ((16, 16, 16), {"num_heads": 6, "img_size": [20, 16, 16]}, "must be a multiple of|does not take")],
)  # fmt: skip
def test_what_no_tensor_of_primus_shows_must_be_given(size, given, message, tmp_path):
    path = save_as_public(tmp_path / "a.pth", Primus(1, 2, img_size=size, **NARROW).state_dict())
    with pytest.raises(InputError, match=message):
        opened(path, **given)


def test_primus_without_its_decoder_is_refused(tmp_path):
    weights = Primus(1, 2, img_size=(16, 16, 16), **NARROW).state_dict()
    own = {name: tensor for name, tensor in weights.items() if not name.startswith("up_projection")}
    path = save_as_public(tmp_path / "a.pth", own, prefix="encoder.")
    with pytest.raises(InputError, match=r"contains only an encoder \(Primus\)"):
        opened(path)


@pytest.mark.parametrize("name", ["STUNet", "Primus"])
def test_a_mark_matches_no_other_family(name):
    networks = {"STUNet": stunet([4] * 6), "Primus": partial(Primus, img_size=(16, 16, 16), **NARROW)}
    tensors = skeleton(networks[name], channels=1, classes=2).state_dict()
    known = {family for family, facts in FAMILIES.items() if any(re.fullmatch(facts.mark, part) for part in tensors)}
    assert known == {name}
