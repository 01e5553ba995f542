"""Replay: a stand-in for a network that returns what the network returned for one batch, without computing it."""

from collections.abc import Mapping

from torch import Tensor, nn


class Replay(nn.Module):
    """Returns the logits of an earlier batch, and lets its taps return that batch's features.

    Args:
        maps: (b, d, *map) of each tap, by the name of its module.
        logits: (b, z, *patch).

    Example:
        >>> import torch
        >>> from benchmark.features.taps import Taps
        >>> replay = Replay({"decoder.last": torch.ones(1, 2, 4, 4, 4)}, torch.zeros(1, 3, 8, 8, 8))
        >>> with Taps(replay, ["decoder.last"]) as taps:
        ...     tuple(replay(torch.zeros(2, 1, 8, 8, 8)).shape), tuple(taps.take()[0].shape)
        ((2, 3, 8, 8, 8), (2, 2, 4, 4, 4))
    """

    def __init__(self, maps: Mapping[str, Tensor], logits: Tensor) -> None:
        super().__init__()
        self._logits = logits
        self._layers = []
        for name in sorted(maps, key=lambda name: name.count(".")):  # a tap may be inside another one
            parent: nn.Module = self
            *above, last = name.split(".")
            for step in above:
                if step not in parent._modules:
                    parent.add_module(step, nn.Module())
                parent = parent.get_submodule(step)
            self._layers.append(_Layer(maps[name]))
            parent.add_module(last, self._layers[-1])

    def forward(self, views: Tensor) -> Tensor:
        """Return logits for as many windows as `views` (b, c, *patch) has."""
        for layer in self._layers:
            layer(len(views))
        return _first(self._logits, len(views))


class _Layer(nn.Module):
    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self._values = values

    def forward(self, count: int) -> Tensor:
        return _first(self._values, count)


def _first(values: Tensor, count: int) -> Tensor:
    """The first windows of a batch; those of the first one repeated if the batch is smaller."""
    return values[:count] if len(values) >= count else values[:1].expand(count, *values.shape[1:])
