"""A network class with the names that transfer and tapping need, and the windows that it takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.errors import InputError

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Architecture:
    """A network factory and the names of its parts.

    A network of two dimensions sees volumes as slices: (b, c, 1, H, W) reaches it as (b, c, H, W), and its logits come
    back as (b, k, 1, H, W), so that whoever holds it need not know.

    Attributes:
        name: The architecture's name.
        network: `network(in_channels=..., out_channels=...)` returns the module, which maps (b, c, D, H, W) to
            logits (b, k, D, H, W), or (b, c, H, W) to (b, k, H, W) where `dims` is 2.
        taps: Decoder stages, coarse to fine; the output of each is the input of a segmentation head.
        decoder: Modules that `tune=decoder` tunes beside the head.
        last: Modules that `tune=last` tunes beside the head.
        head: Modules that a new label set replaces.
        width: Channels of the finest layer.
        divisor: Each side of a patch must be a multiple of it; one number, or one an axis.
        least: A side is at least this many times the divisor.
        size: The only patch that it takes, as a transformer with learned positions does; None: any.
        dims: 3, or 2.
    """

    name: str
    network: Callable[..., nn.Module]
    taps: tuple[str, ...]
    decoder: tuple[str, ...]
    last: tuple[str, ...]
    head: tuple[str, ...]
    width: int
    divisor: int | Sequence[int] = 8
    least: int = 1
    size: Sequence[int] | None = None
    dims: int = 3

    def build(self, *, channels: int, classes: int, seed: int, device: str = "cpu") -> nn.Module:
        """A network on a device, its initial weights drawn from `seed` alone.

        Weights lie channels-last, which makes a small 3D network a quarter faster on a CPU.

        Raises:
            InputError: A tap, decoder or head name is not a module of the network.
        """
        network = initial(self.network, channels=channels, classes=classes, seed=seed)
        modules = dict(network.named_modules())
        for name in (*self.taps, *self.decoder, *self.last, *self.head):
            if name not in modules:
                raise InputError(f"arch {self.name}: {name} must name a module of the network, which has none such")
        if self.dims == 2:
            network.register_forward_pre_hook(_to_slices)
            network.register_forward_hook(_to_volumes)
        placed: Any = network.to(device)  # torch's stubs do not know memory_format
        layout = torch.channels_last if self.dims == 2 else torch.channels_last_3d
        moved: nn.Module = placed.to(memory_format=layout)
        return moved

    def bare(self, *, channels: int, classes: int) -> nn.Module:
        """The network as its class makes it, which takes slices where `dims` is 2."""
        return initial(self.network, channels=channels, classes=classes, seed=0)

    def fit(self, window: Sequence[int]) -> Triple:
        """The window nearest to one asked for that the network takes, never smaller than what it needs.

        Args:
            window: (3,) voxels asked for.

        Returns:
            (3,) voxels; the first is 1 for a network of two dimensions.

        Example:
            >>> Architecture("net", nn.Identity, (), (), (), (), 1, divisor=16).fit((32, 40, 8))
            (32, 48, 16)
        """
        if self.size is not None:
            return _triple(self.size)
        steps = [self.divisor] * self.dims if isinstance(self.divisor, int) else list(self.divisor)
        asked = list(window)[-self.dims :]
        return _triple([max(-(-side // step), self.least) * step for side, step in zip(asked, steps, strict=True)])


def initial(network: Callable[..., nn.Module], *, channels: int, classes: int, seed: int) -> nn.Module:
    """A network with initial weights drawn from `seed` alone; the process's generator stays as it was.

    Raises:
        TypeError: The factory makes something else.
    """
    with torch.random.fork_rng(devices=[]):  # torch draws initial weights from its global generator
        torch.manual_seed(seed)
        made: Any = network(in_channels=channels, out_channels=classes)
    if not isinstance(made, nn.Module):
        raise TypeError(f"a network must be a torch module, got {type(made).__name__}")
    return made


def _triple(sides: Sequence[int]) -> Triple:
    depth, height, width = [1] * (3 - len(sides)) + [int(side) for side in sides]
    return depth, height, width


def _to_slices(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0].squeeze(2), *inputs[1:])


def _to_volumes(network: nn.Module, inputs: Any, output: Any) -> Any:
    """Maps (b, k, H, W) as volumes of one slice; a deeply supervised network returns several in training mode."""
    if isinstance(output, Tensor):
        return output.unsqueeze(-3) if output.ndim > 3 else output  # (b, n, k, H, W) where MONAI's DynUNet stacks them
    if isinstance(output, Mapping):
        return {name: _to_volumes(network, inputs, inner) for name, inner in output.items()}
    if isinstance(output, list | tuple):
        return [_to_volumes(network, inputs, inner) for inner in output]
    return output
