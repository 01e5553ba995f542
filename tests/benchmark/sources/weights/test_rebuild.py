"""Networks of MONAI with random settings, saved and opened again: equal, or refused, or their assumption is named."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch

from benchmark.errors import InputError
from benchmark.sources.networks.skeleton import shapes_of
from benchmark.sources.readers.state_dict import StateDictSource
from benchmark.sources.weights.families import guess
from tests.benchmark.sources.weights.drawn_settings import SIGNATURES, build

VALUES = {
    name: [(setting, at) for setting, choices in sorted(signature.choices.items()) for at in range(len(choices))]
    for name, signature in SIGNATURES.items()
}  # each that fits the others is drawn at least once
ATTEMPTS = 30
EQUAL = 1e-5  # of the output's largest value: the same class with the same weights computes the same, to rounding
REBUILT = 0.95  # of the draws whose every setting is shown
REFUSED = (ValueError, TypeError, RuntimeError, AssertionError, KeyError, AttributeError)  # by a network's class
LAYOUTS = {}


@dataclass
class Drawn:
    """A network with random settings and weights.

    Attributes:
        settings: Those that differ from the base.
        dims: 3 or 2.
        network: In eval mode, all its weights and running statistics random.
        image: An input.
        output: What it makes of it.
    """

    name: str
    settings: dict
    dims: int
    network: torch.nn.Module
    image: torch.Tensor
    output: torch.Tensor


def draw(name, rng, setting, at):
    """A network with a given value of a setting, others at random, that can be built and run; None: none was found."""
    signature = SIGNATURES[name]
    for _ in range(ATTEMPTS):
        dims = 2 if rng.random() < 0.2 else 3
        others = sorted(signature.choices.keys() - {setting})
        names = rng.choice(others, size=min(len(others), rng.poisson(1.0)), replace=False)
        settings = {str(one): signature.choices[one][rng.integers(len(signature.choices[one]))] for one in names}
        settings[setting] = signature.choices[setting][at]
        channels, classes = int(rng.integers(1, 3)), int(rng.integers(2, 5))
        try:
            with torch.random.fork_rng():
                torch.manual_seed(int(rng.integers(2**31)))
                network = build(name, settings, dims=dims, channels=channels, classes=classes).eval()
                for part, tensor in network.state_dict().items():
                    if tensor.is_floating_point() and tensor.ndim <= 1:
                        tensor.copy_(torch.rand_like(tensor) + (0.5 if part.endswith(("weight", "var")) else -0.5))
                image = torch.randn(1, channels, *signature.shape[:dims])
                with torch.no_grad():
                    output = network(image)
        except REFUSED:
            continue
        if output.isfinite().all():
            return Drawn(name, settings, dims, network, image, output)
    return None


def layout(name, settings, dims):
    """Names and shapes of a network's tensors; None where its class refuses the settings."""
    key = (name, repr(sorted(settings.items())), dims)
    if key not in LAYOUTS:
        network = partial(lambda in_channels, out_channels: build(name, settings, dims=dims))
        try:
            LAYOUTS[key] = shapes_of(network, channels=1, classes=3)
        except REFUSED:
            LAYOUTS[key] = None
    return LAYOUTS[key]


def hidden(drawn):
    """The settings of a draw that no tensor shows: with another value there the tensors would be the same."""
    own = layout(drawn.name, drawn.settings, drawn.dims)
    # without A or N it looks like another act or norm
    names = {name for name in drawn.settings if name == "adn_ordering"}
    for setting, value in drawn.settings.items():
        without = {name: other for name, other in drawn.settings.items() if name != setting}
        others = [without] + [without | {setting: other} for other in SIGNATURES[drawn.name].choices[setting]
                              if repr(other) != repr(value)]  # fmt: skip
        if any(layout(drawn.name, other, drawn.dims) == own for other in others):
            names.add(setting)
    return names


def run(network, image):
    """What a network that sees slices as volumes makes of an image."""
    flat = image.ndim == 4
    with torch.no_grad():
        output = network(image.unsqueeze(2) if flat else image)
    return output.squeeze(2) if flat else output


def off(one, other):
    """The largest difference, relative to the largest value; infinite where shapes differ."""
    return float((one - other).abs().max() / other.abs().max()) if one.shape == other.shape else float("inf")


def fate(drawn, folder):
    """What becomes of a draw that is saved and opened again: "equal", "assumed" or the reason why it is refused.

    One that is opened and differs must be the drawn network with the assumed values in place of the drawn ones, and
    nothing else.
    """
    torch.save(drawn.network.state_dict(), folder / "drawn.pt")
    try:
        model = StateDictSource("drawn", folder / "drawn.pt").open()
    except InputError as error:
        return re.sub(r"[\d\[\](),]+", "#", str(error))[:100]
    output = run(model.network(), drawn.image)
    if off(output, drawn.output) <= EQUAL:
        return "equal"
    assumed = guess(drawn.network.state_dict(), source="drawn", given={}).assumed
    known = SIGNATURES[drawn.name].choices
    taken = {name: value for name, value in assumed.items() if name in known}
    taken |= {"downsample": "merging"} if "merging" in assumed else {}
    taken |= {"norm_name": "", "num_groups": 8} if drawn.name == "SegResNet" else {}  # other words for its norm
    rebuilt = build(drawn.name, drawn.settings | taken, dims=drawn.dims, channels=model.channels, classes=model.classes)
    rebuilt.load_state_dict(drawn.network.state_dict())
    with torch.no_grad():
        assert off(output, rebuilt.eval()(drawn.image)) <= EQUAL, (drawn.settings, assumed)
    for name in assumed:
        assert f"{name} = " in model.facts["assumed"]
    assert any(model.facts["assumed"] in note for note in model.notes)
    return "assumed"


@cache
def tally(name):
    """How often each fate befell the draws of a network: of all, and of those whose every setting is shown."""
    rng = np.random.default_rng(10)
    every, shown = Counter(), Counter()
    with TemporaryDirectory() as folder:
        for setting, at in VALUES[name]:
            drawn = draw(name, rng, setting, at)
            if drawn is None:
                continue
            end = fate(drawn, Path(folder))
            every[end] += 1
            shown[end] += not hidden(drawn)
    return every, shown


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_network_with_random_settings_is_the_same_or_its_assumption_is_named(name):
    every, _ = tally(name)
    assert every["equal"] > 0.3 * every.total()


def test_what_the_tensors_show_is_rebuilt():
    total = sum((tally(name)[0] for name in SIGNATURES), Counter())
    shown = sum((tally(name)[1] for name in SIGNATURES), Counter())
    print(f"{total.total()} draws: {dict(total)}; with every setting shown: {dict(shown)}")
    assert total.total() >= 150
    assert shown.total() >= 30
    assert shown["equal"] >= REBUILT * shown.total()


def test_the_documentation_lists_what_is_assumed():
    page = (Path(__file__).parents[4] / "docs" / "how-to" / "own-checkpoints.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\w+) \| (`.+) \|$", page, flags=re.MULTILINE))
    for name in SIGNATURES:
        weights = build(name, {}).state_dict()
        assumed = guess(weights, source="small", given={}).assumed
        said = set(re.findall(r"`(\w+)`", rows[name]))
        assert set(assumed) - {"act", "act_name"} <= said <= set(assumed) | {"act"}  # UNet's default activation shows
