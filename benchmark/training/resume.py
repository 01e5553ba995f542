"""State of a training on disk, from which an interrupted training resumes to the same bits."""

import pickle
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmark.errors import InputError, WriteError, one_line
from benchmark.storage.files import partial_file

# what reading a damaged file, or loading the state of another network, raises
CORRUPT = (RuntimeError, KeyError, ValueError, TypeError, IndexError, EOFError, pickle.UnpicklingError)


class CorruptStateError(InputError):
    """A saved state cannot be used and was deleted, so that another attempt trains from scratch."""


class NoWeightsError(InputError):
    """A folder has no usable weights of a training after a number of steps."""


def state_path(folder: Path) -> Path:
    """The file of a training's state in a folder."""
    return folder / "training.pt"


def paused_path(folder: Path) -> Path:
    """The file with the weights of a training at its last pause, once it has continued from there."""
    return folder / "paused.pt"


def saved_losses(path: Path) -> list[float]:
    """The losses in a saved state; none without a file, or with a corrupt one, which `Keeper.load` reports."""
    try:
        return list(_read(path, torch.device("cpu"))["losses"]) if path.is_file() else []
    except CORRUPT:
        return []


def load_weights(network: nn.Module, folder: Path, *, steps: int) -> None:
    """Give a network the weights that its training had after `steps` steps: those of its state, or of its last pause.

    A file that is corrupt or belongs to another network is deleted.

    Raises:
        NoWeightsError: The folder does not have them.
    """
    for path in (state_path(folder), paused_path(folder)):
        if not path.is_file():
            continue
        try:
            state = _read(path, next(network.parameters()).device)
            if len(state["losses"]) == steps:
                network.load_state_dict(state["network"])
                return
        except CORRUPT:
            path.unlink()
    raise NoWeightsError(f"{folder} has no weights after {steps} steps")


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


@dataclass
class Keeper:
    """Saves the state of a training to a file.

    Batches need no state: they are a function of the seed, and a resumed training skips those already seen.

    Attributes:
        path: The file; written to a temporary name, fsynced and renamed.
        every: Seconds between two saves.
        extra: Further state that a loop passed to `keep`, such as what it measured; set by `load`.
    """

    path: Path
    every: float = 60.0
    extra: str = field(default="", init=False)
    _paused: bool = field(default=False, init=False)  # whether the state on disk is that of a pause
    _last: float = field(default_factory=time.monotonic, init=False)

    def load(self, network: nn.Module, optimiser: torch.optim.Optimizer) -> list[float]:
        """Restore a saved state and return the losses of the finished steps, an empty list without a saved state.

        Raises:
            CorruptStateError: The file is corrupt or belongs to another network; it is deleted.
        """
        if not self.path.is_file():
            return []
        device = next(network.parameters()).device
        try:
            state = _read(self.path, device)
            network.load_state_dict(state["network"])
            optimiser.load_state_dict(state["optimiser"])
            torch.set_rng_state(state["random"][0].cpu())
            if device.type == "cuda" and len(state["random"]) > 1:
                torch.cuda.set_rng_state(state["random"][1].cpu(), device)
            self.extra, self._paused = state["extra"], state.get("paused", False)
            return list(state["losses"])
        except CORRUPT as error:
            detail = str(error).splitlines()[0] if str(error) else type(error).__name__
            self.path.unlink()
            raise CorruptStateError(f"corrupt training checkpoint {self.path} ({detail}); deleted, run again to train "
                                    "from scratch") from error  # fmt: skip

    def keep(
        self,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        losses: Sequence[float],
        *,
        extra: str = "",
        now: bool = False,
    ) -> None:
        """Save the state if `every` seconds have passed since the last save, or at once at a pause (`now`).

        The weights of the pause that the training continued from are kept in a file of their own.

        Raises:
            WriteError: The file cannot be written, such as on a full disk.
        """
        if not now and time.monotonic() - self._last < self.every:
            return
        device = next(network.parameters()).device
        on_gpu = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
        state: dict[str, object] = {
            "network": network.state_dict(),
            "optimiser": optimiser.state_dict(),
            "random": [torch.get_rng_state(), *on_gpu],
            "losses": list(losses),
            "extra": extra,
            "paused": now,
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self._paused:
                self._keep_pause()
            with partial_file(self.path) as partial:
                torch.save(state, partial)
        except (OSError, RuntimeError) as error:  # torch reports a full disk by a RuntimeError
            free = shutil.disk_usage(self.path.parent if self.path.parent.is_dir() else Path.cwd()).free // 2**20
            raise WriteError(f"cannot write {self.path} ({free} MB free): {one_line(error)}") from error
        self._paused, self._last = now, time.monotonic()

    def _keep_pause(self) -> None:
        state = _read(self.path, torch.device("cpu"))
        with partial_file(paused_path(self.path.parent)) as partial:
            torch.save({part: state[part] for part in ("network", "losses")}, partial)
