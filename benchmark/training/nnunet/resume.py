"""Resume an interrupted nnU-Net training at its last saved epoch, with bit-identical results.

nnU-Net's loaders have no state besides the process's random generators. With a seed for each epoch, an epoch depends on
earlier ones only through the weights, the optimiser and nnU-Net's log.
"""

import json
from collections.abc import Callable
from typing import Any

from benchmark.training.resume import Keeper


def by_epochs(
    trainer: Any, losses: list[float], *, seed_epoch: Callable[[int], None], keeper: Keeper | None = None
) -> None:
    """Make an nnU-Net trainer seed every epoch, save its state at the end of an epoch, and resume from it.

    Results are bit-identical only if batches are augmented in this process.

    Args:
        trainer: The trainer, before it runs.
        losses: The loss at each step, which the trainer appends to.
        seed_epoch: A function that seeds the generators for an epoch.
        keeper: Saves the state; None saves nothing.
    """
    begin, begin_epoch, end_epoch = trainer.on_train_start, trainer.on_epoch_start, trainer.on_epoch_end

    def start() -> None:
        begin()
        if keeper and (done := keeper.load(trainer.network, trainer.optimizer)):
            losses[:] = done
            _put_back(trainer, json.loads(keeper.extra))
            trainer.current_epoch = len(done) // trainer.num_iterations_per_epoch

    def start_epoch() -> None:
        seed_epoch(trainer.current_epoch)
        begin_epoch()

    def finish_epoch() -> None:
        end_epoch()
        if keeper:
            keeper.keep(trainer.network, trainer.optimizer, losses, extra=json.dumps(_log(trainer), default=float))

    trainer.on_train_start, trainer.on_epoch_start, trainer.on_epoch_end = start, start_epoch, finish_epoch


def _log(trainer: Any) -> dict[str, Any]:
    scaler = trainer.grad_scaler
    return {
        "logging": trainer.logger.get_checkpoint(),
        "best": trainer._best_ema,
        "scaler": scaler.state_dict() if scaler is not None else None,
    }


def _put_back(trainer: Any, log: dict[str, Any]) -> None:
    trainer.logger.load_checkpoint(log["logging"])
    trainer._best_ema = log["best"]
    if trainer.grad_scaler is not None and log["scaler"] is not None:
        trainer.grad_scaler.load_state_dict(log["scaler"])
