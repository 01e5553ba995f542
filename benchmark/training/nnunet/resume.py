"""nnU-Net's training goes on after a kill, at the epoch where it stood, to the same bits.

nnU-Net's loaders draw from the process's generators and hold nothing else. With a seed of its own for each epoch, an
epoch needs from those before it the weights, the optimiser and nnU-Net's log.
"""

import json
from collections.abc import Callable
from typing import Any

from benchmark.training.resume import Keeper


def by_epochs(
    trainer: Any, losses: list[float], *, seed_epoch: Callable[[int], None], keeper: Keeper | None = None
) -> None:
    """Let a trainer of nnU-Net seed each epoch anew, keep its state at an epoch's end, and begin from what is kept.

    Equal only while batches are augmented in this process, as equal seeds are.

    Args:
        trainer: The trainer, before it runs.
        losses: The loss at each step, which the trainer appends to.
        seed_epoch: What seeds the generators for an epoch.
        keeper: Where the state is kept; None keeps none.
    """
    begin, begin_epoch, end_epoch = trainer.on_train_start, trainer.on_epoch_start, trainer.on_epoch_end

    def start() -> None:
        begin()
        if keeper and (done := keeper.load(trainer.network, trainer.optimizer)):
            losses[:] = done
            _put_back(trainer, json.loads(keeper.beside))
            trainer.current_epoch = len(done) // trainer.num_iterations_per_epoch

    def start_epoch() -> None:
        seed_epoch(trainer.current_epoch)
        begin_epoch()

    def finish_epoch() -> None:
        end_epoch()
        if keeper:
            keeper.keep(trainer.network, trainer.optimizer, losses, beside=json.dumps(_log(trainer), default=float))

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
