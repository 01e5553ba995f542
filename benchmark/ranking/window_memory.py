"""Estimates the memory of one window's forward pass without running it.

The network is moved to torch's `meta` device, where an operation returns a tensor with a shape and no values. Every
storage that such an operation makes is counted until it is freed, so that the largest sum is that of the tensors that
are alive together. What a library allocates within an operation shows in no tensor; of that, only the copy is counted
that a convolution makes of its input in a layout of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmark.features.taps import Taps


@dataclass(frozen=True)
class WindowMemory:
    """The estimated memory of one window's forward pass.

    Attributes:
        weights: Bytes of the parameters and buffers.
        activations: Largest number of bytes of the input and the maps that are alive together.
        logits: What the network returned, on the device `meta`.
    """

    weights: int
    activations: int
    logits: object

    @property
    def nbytes(self) -> int:
        """Bytes of both."""
        return self.weights + self.activations


def window_memory(network: nn.Module, taps: Sequence[str], *, channels: int, window: Sequence[int]) -> WindowMemory:
    """Estimate the memory of a forward pass in float32 that keeps the maps of the taps.

    Args:
        network: The network; it is moved to the device `meta`, so that its weights are lost.
        taps: Names of the modules whose output is kept.
        channels: Channels of the window.
        window: (3,) voxels.

    Raises:
        Exception: Whatever the network raises there; it may need the values of a tensor, or fail in any forward pass.

    Example:
        >>> network = nn.Sequential(nn.Conv3d(1, 4, 1), nn.Conv3d(4, 2, 1))
        >>> memory = window_memory(network, ["0"], channels=1, window=(8, 8, 8))
        >>> maps = 8**3 * 4
        >>> memory.weights, memory.activations / maps, tuple(memory.logits.shape)
        (72, 11.0, (1, 2, 8, 8, 8))
    """
    weights = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
    network.to("meta")
    with torch.no_grad(), Taps(network, taps), LiveStorages() as live:
        logits = network(torch.empty(1, channels, *window, device="meta"))
    return WindowMemory(weights, live.peak, logits)


class LiveStorages(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Counts the bytes of the storages that operations make within a block, as long as they are alive.

    Attributes:
        peak: The largest number of bytes so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # likewise
        self.peak = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}  # address of a storage -> itself, its bytes

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> Any:
        """Run an operation and count what it returns."""
        returned = func(*args, **(kwargs or {}))
        given = [tensor for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)]
        before = {tensor.untyped_storage()._cdata for tensor in given}
        for tensor in tree_leaves(returned):
            if isinstance(tensor, Tensor) and (address := tensor.untyped_storage()._cdata) not in before:
                made = tensor.untyped_storage()
                self._alive[address] = StorageWeakRef(made), made.nbytes()  # type: ignore[no-untyped-call]
        self._alive = {
            at: (storage, nbytes)
            for at, (storage, nbytes) in self._alive.items()
            if not storage.expired()  # type: ignore[no-untyped-call]
        }
        alive = sum(nbytes for _, nbytes in self._alive.values())
        copied = args[0].nbytes if func is torch.ops.aten.convolution.default and isinstance(args[0], Tensor) else 0
        self.peak = max(self.peak, alive + copied)
        return returned
