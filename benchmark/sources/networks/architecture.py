"""A network factory with the names of the network's parts and the window sizes that it accepts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark.errors import InputError
from benchmark.sources.networks.skeleton import initial, is_skeleton, to_fill

Triple = tuple[int, int, int]
STAGES = 3  # CC-FV reads the inputs of the three finest heads


@dataclass(frozen=True)
class Architecture:
    """A network factory and the names of its parts.

    A 2D network is used like a 3D one: inputs (b, c, 1, H, W) are passed to it as (b, c, H, W), and its logits are
    returned as (b, k, 1, H, W).

    Attributes:
        name: The architecture's name.
        network: `network(in_channels=..., out_channels=...)` returns the module, which maps (b, c, D, H, W) to
            logits (b, k, D, H, W), or (b, c, H, W) to (b, k, H, W) if `dims` is 2.
        taps: Decoder stages, coarse to fine; the output of each is the input of a segmentation head.
        decoder: Modules that `tune=decoder` tunes in addition to the head.
        last: Modules that `tune=last` tunes in addition to the head.
        head: Modules that are replaced for a new label set.
        width: Channels of the finest layer.
        divisor: Each side of a patch must be a multiple of it; a number, or a number per axis.
        least: Smallest side, in multiples of the divisor.
        size: The only patch size accepted, as for a transformer with learned positions; None: any.
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
        """Build the network on a device, with initial weights drawn from `seed` only.

        Weights are in channels-last format, which makes a small 3D network a quarter faster on a CPU.

        Raises:
            InputError: A tap, decoder or head name is not a module of the network.
        """
        return self._arranged(initial(self.network, channels=channels, classes=classes, seed=seed).to(device))

    def to_fill(self, *, channels: int, classes: int, device: str = "cpu") -> nn.Module:
        """Build the network as `build` does, for weights and buffers that are all replaced next: none is drawn.

        Raises:
            InputError: As for `build`.
        """
        network = self._arranged(to_fill(self.network, channels=channels, classes=classes))
        if not is_skeleton(network):
            return network.to(device)
        empty = {
            name: torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)
            for name, tensor in network.state_dict().items()
        }  # `to_empty` would not keep the strides of axes of length 1, which decide on the layout of the maps
        network.load_state_dict(empty, assign=True)
        return network

    def _arranged(self, network: nn.Module) -> nn.Module:
        """Check the names, add the hooks of a 2D network, and convert the weights to channels-last."""
        self.check_names(network)
        if self.dims == 2:
            network.register_forward_pre_hook(_to_slices)
            network.register_forward_hook(_to_volumes)
        layout = torch.channels_last if self.dims == 2 else torch.channels_last_3d
        return network.to(memory_format=layout)  # type: ignore[call-overload, no-any-return]  # torch's stubs

    def check_names(self, network: nn.Module) -> None:
        """Check that taps, decoder, last and head name modules of the network.

        Raises:
            InputError: One of them does not.
        """
        modules = dict(network.named_modules())
        for name in (*self.taps, *self.decoder, *self.last, *self.head):
            if name not in modules:
                raise InputError(f"arch {self.name}: taps, decoder, last and head must name modules, got {name}")

    def bare(self, *, channels: int, classes: int) -> nn.Module:
        """Build the network without hooks; it takes slices if `dims` is 2."""
        return initial(self.network, channels=channels, classes=classes, seed=0)

    def fit(self, window: Sequence[int]) -> Triple:
        """Enlarge a window, (3,) voxels, to the next size that the network accepts; a fixed `size` replaces it.

        Returns:
            (3,) voxels; the first is 1 for a 2D network.

        Example:
            >>> Architecture("net", nn.Identity, (), (), (), (), 1, divisor=16).fit((32, 40, 8))
            (32, 48, 16)
        """
        if self.size is not None:
            return _triple(self.size)
        steps = [self.divisor] * self.dims if isinstance(self.divisor, int) else list(self.divisor)
        sides = list(window)[-self.dims :]
        return _triple([max(-(-side // step), self.least) * step for side, step in zip(sides, steps, strict=True)])


def is_within(name: str, parts: Sequence[str]) -> bool:
    """Whether a dotted name is one of the parts, or the name of something in them."""
    return any(name == part or name.startswith(f"{part}.") for part in parts)


def by_setting(field: str) -> str:
    """Where a user states a field of a source's settings, for errors.

    Example:
        >>> by_setting("prefix")
        '`prefix:` in a yaml next to the file (inspect --schema), or source.prefix='
    """
    return f"`{field}:` in a yaml next to the file (inspect --schema), or source.{field}="


def _triple(sides: Sequence[int]) -> Triple:
    depth, height, width = [1] * (3 - len(sides)) + [int(side) for side in sides]
    return depth, height, width


def _to_slices(network: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (inputs[0].squeeze(2), *inputs[1:])


def _to_volumes(network: nn.Module, inputs: object, output: object) -> object:
    """Turn maps (b, k, H, W) into volumes of one slice; deep supervision returns several maps in training mode."""
    if isinstance(output, Tensor):
        return output.unsqueeze(-3) if output.ndim > 3 else output  # (b, n, k, H, W) where MONAI's DynUNet stacks them
    if isinstance(output, Mapping):
        return {name: _to_volumes(network, inputs, inner) for name, inner in output.items()}
    return [_to_volumes(network, inputs, inner) for inner in output] if isinstance(output, list | tuple) else output
