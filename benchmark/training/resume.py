"""A training that was killed goes on where it stood: weights, optimiser, step and random state, written whole."""

import os
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark.errors import InputError


@dataclass
class Keeper:
    """Keeps a training's state in a file.

    The batches need no state: their generator is a function of the seed, so going on skips those that were seen.

    Attributes:
        path: The file; written to a temporary name, fsynced and renamed.
        every: Seconds between two writes.
        beside: What a loop kept beside weights and optimiser, after `load`.
    """

    path: Path
    every: float = 60.0
    beside: str = field(default="", init=False)
    _last: float = field(default_factory=time.monotonic, init=False)

    def load(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> list[float]:
        """Put a kept state back, and return the losses of the steps that are done; none where nothing was kept.

        Raises:
            InputError: The file is not what `keep` wrote for this network; it is removed, and the next run trains anew.
        """
        if not self.path.is_file():
            return []
        device = next(network.parameters()).device
        try:
            state = torch.load(self.path, map_location=device, weights_only=True)
            network.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            _set_random_state([one.cpu() for one in state["random"]], device)
            self.beside = state["beside"]
            return list(state["losses"])
        except (RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
            detail = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.path.unlink()
            raise InputError(
                f"{self.path} must hold a training's state, got: {detail} (removed; run again to train anew)"
            ) from error

    def keep(
        self, network: nn.Module, optimiser: torch.optim.Optimizer, losses: Sequence[float], *, beside: str = ""
    ) -> None:
        """Write the state, if it is time."""
        if time.monotonic() - self._last < self.every:
            return
        device = next(network.parameters()).device
        state: dict[str, Any] = {
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "random": _random_state(device),
            "losses": list(losses),
            "beside": beside,
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_name(f".{self.path.name}.part")
        with partial.open("wb") as stream:
            torch.save(state, stream)
            stream.flush()
            os.fsync(stream.fileno())
        partial.rename(self.path)
        self._last = time.monotonic()


def _random_state(device: torch.device) -> list[torch.Tensor]:
    own = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    return [torch.get_rng_state(), *own]


def _set_random_state(states: Sequence[torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda" and len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)
