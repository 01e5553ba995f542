"""nnU-Net's training loop for a given network, each epoch from a seed of its own, and resumed with identical bits.

nnU-Net's loaders have no state besides the process's random generators. With a seed for each epoch, an epoch depends on
earlier ones only through the weights, the optimiser and nnU-Net's log.
"""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmark.training.resume import Keeper


class NetworkTrainer(nnUNetTrainer):  # type: ignore[misc]  # nnU-Net is not typed
    """nnU-Net's trainer with the network of a source instead of the planned one."""

    given: nn.Module
    dims: int

    def give(self, network: nn.Module, *, dims: int) -> None:
        """Set the network, with weights loaded and parameters frozen; nnU-Net's constructor takes no more arguments.

        Its checkpoints are not saved, since their plans would describe another network.
        """
        self.given, self.dims = network, dims
        self.enable_deep_supervision = dims == 3 and is_supervised_deeply(network)
        self.disable_checkpointing = True

    def build_network_architecture(self, plans_manager: object, *_: object, **__: object) -> nn.Module:
        """Return the given network."""
        return Slices(self.given) if self.dims == 2 else self.given

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Switch deep supervision, which only nnU-Net's own networks support."""
        if is_supervised_deeply(self.network):
            super().set_deep_supervision_enabled(enabled)

    def validate(self, fold: int, folder: Path) -> Path:
        """Predict the validation cases of a fold; return the folder of the predictions and their `summary.json`."""
        self.fold, self.output_folder = fold, str(folder)
        self.perform_actual_validation(save_probabilities=False)
        return folder / "validation"

    def _get_deep_supervision_scales(self) -> list[list[float]] | None:
        """Size of each output relative to the patch, from the strides of the given network instead of the plan."""
        if not self.enable_deep_supervision:
            return None
        sides = 1.0 / np.cumprod(np.vstack(self.network.encoder.strides), axis=0)
        return [list(map(float, scale)) for scale in sides[:-1]]


class Slices(nn.Module):
    """Wrapper for the slices of nnU-Net's loop, of a 2D network that maps (b, c, 1, H, W) to (b, k, 1, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Map (b, c, H, W) to logits (b, k, H, W)."""
        logits: Tensor = self.network(image[:, :, None])
        return logits[:, :, 0]


def is_supervised_deeply(network: nn.Module) -> bool:
    """Whether a network has a decoder with deep supervision, as nnU-Net's own networks have."""
    return hasattr(getattr(network, "decoder", None), "deep_supervision") and hasattr(network, "encoder")


def without_mirroring(trainer: nnUNetTrainer) -> None:
    """Switch off mirroring, in the augmentation and at prediction, as nnU-Net's nnUNetTrainerNoMirroring does."""
    # a subclass would write its own name into nnU-Net's checkpoint
    configure = trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size

    def configured() -> tuple[object, ...]:
        rotation, dummy, initial_patch, _ = configure()
        trainer.inference_allowed_mirroring_axes = None
        return rotation, dummy, initial_patch, None

    trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size = configured


@contextmanager
def seeded(seed: int) -> Iterator[Callable[[int], None]]:
    """Seed torch, numpy and Python for the block, which is given a function that seeds them for an epoch."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002 - nnU-Net uses it
    with torch.random.fork_rng():

        def seed_all(value: int) -> None:
            torch.manual_seed(value)
            np.random.seed(value)  # noqa: NPY002
            random.seed(value)

        def seed_epoch(epoch: int) -> None:
            seed_all(int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0]))

        seed_all(seed)
        try:
            yield seed_epoch
        finally:
            np.random.set_state(numpy_state)  # noqa: NPY002
            random.setstate(python_state)


@dataclass
class EpochProgress:
    """What a training has done so far, also before it was interrupted.

    Attributes:
        losses: The loss at each step.
        seconds: Duration of the finished epochs.
    """

    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0


def by_epochs(
    trainer: nnUNetTrainer,
    *,
    report: Callable[[int, float], None],
    seed_epoch: Callable[[int], None],
    keeper: Keeper | None,
    until: int | None = None,
) -> EpochProgress:
    """Make an nnU-Net trainer seed every epoch, save its state at the end of an epoch, and resume from it.

    Results are bit-identical only if batches are augmented in this process.

    Args:
        trainer: The trainer, before it runs.
        report: Called after each step with the step and the loss.
        seed_epoch: Seeds the generators for an epoch.
        keeper: Saves the state; None saves nothing.
        until: The number of epochs after which the training pauses, its state saved; None: all of them. The learning
            rate follows the schedule of all epochs.

    Returns:
        The progress, which the trainer updates.
    """
    # a subclass would write its own name into nnU-Net's checkpoint
    begin, begin_epoch, end_epoch = trainer.on_train_start, trainer.on_epoch_start, trainer.on_epoch_end
    step, progress, started = trainer.train_step, EpochProgress(), 0.0
    losses = progress.losses

    def start() -> None:
        begin()
        if keeper and (done := keeper.load(trainer.network, trainer.optimizer)):
            losses[:], log = done, json.loads(keeper.extra)
            progress.seconds = log["seconds"]
            _put_back(trainer, log)
            trainer.current_epoch = len(done) // trainer.num_iterations_per_epoch
        if until is not None:  # the learning rate's schedule was made from all epochs before this
            trainer.num_epochs = until

    def start_epoch() -> None:
        nonlocal started
        started = time.perf_counter()
        seed_epoch(trainer.current_epoch)
        begin_epoch()

    def reported_step(batch: dict[str, object]) -> dict[str, NDArray[np.float32]]:
        outcome: dict[str, NDArray[np.float32]] = step(batch)
        losses.append(float(outcome["loss"]))
        report(len(losses), losses[-1])
        return outcome

    def finish_epoch() -> None:
        end_epoch()
        progress.seconds += time.perf_counter() - started
        if keeper:
            extra = json.dumps(_log(trainer) | {"seconds": progress.seconds}, default=float)
            keeper.keep(trainer.network, trainer.optimizer, losses, extra=extra, now=trainer.current_epoch == until)

    trainer.on_train_start, trainer.on_epoch_start, trainer.on_epoch_end = start, start_epoch, finish_epoch
    trainer.train_step = reported_step
    return progress


def _log(trainer: nnUNetTrainer) -> dict[str, object]:
    scaler = trainer.grad_scaler
    return {
        "logging": trainer.logger.get_checkpoint(),
        "best": trainer._best_ema,
        "scaler": scaler.state_dict() if scaler is not None else None,
    }


def _put_back(trainer: nnUNetTrainer, log: Mapping[str, object]) -> None:
    trainer.logger.load_checkpoint(log["logging"])
    trainer._best_ema = log["best"]
    if trainer.grad_scaler is not None and log["scaler"] is not None:
        trainer.grad_scaler.load_state_dict(log["scaler"])
