"""One job of a race: trains a candidate up to a rung and measures it on the validation cases."""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from benchmark.data.tasks.task import Task
from benchmark.errors import SkipPair, WriteError
from benchmark.jobs.cli import DISK
from benchmark.ranking.kill_markers import attempt
from benchmark.ranking.source_errors import FAULTS, SourceLogs, blamed_on_source
from benchmark.sources.opening import open_model
from benchmark.sources.pairing import Pair, paired
from benchmark.sources.readers.network_description import describe_network
from benchmark.tracking import Store
from benchmark.tracking.outbox import Draft
from benchmark.tracking.records import REASON, SECONDS, VALIDATION_DICE, Data
from benchmark.training.dice import mean_dice
from benchmark.training.resume import CorruptStateError
from benchmark.training.trainer import PartialTraining, Trainer

KILLS = 2  # how often a process may be killed in the training of a candidate while its race is running
MARKER = "running.attempt"  # in the folder of a candidate's state
TRAINING = "training.json"  # artifact: losses, Dice of each validation case, steps and seconds
DOING = "in its training"
AGAIN = "run again with --retry failed; hydra/launcher=basic runs one job at a time"


@dataclass(frozen=True)
class RaceJob:
    """A candidate that is to reach a rung.

    Attributes:
        name: The candidate.
        node: Its config.
        target: The task.
        preparation: As in `RacePlan`.
        rung: A rung of the trainer.
        seed: Seed of the training.
        device: Device of the training.
        state: Folder of its training state, shared by all rungs.
        output: Where checkpoints and logs are kept.
    """

    name: str
    node: DictConfig
    target: Task
    preparation: Mapping[str, str]
    rung: str
    seed: int
    device: str
    state: Path
    output: Path

    def pair(self, store: Store) -> Pair:
        """Open the candidate and pair it with the task.

        Raises:
            SourceError: The candidate's own files or code fail.
            SkipPair: It cannot be opened for this task, or not be paired with it.
            InputError: Its files or those of the task cannot be read.
        """
        with blamed_on_source("while it was opened"):
            model = open_model(self.node, store, self.output)
        with blamed_on_source("while it and a case of the target were brought together"):
            return paired(model, self.target, **self.preparation)

    def run(self, trainer: Trainer, store: Store, draft: Draft, *, report: Callable[[int, float], None]) -> str:
        """Train and measure the candidate, and log the result.

        Returns:
            Why the candidate failed, or an empty text.

        Raises:
            InputError: What is not the candidate's fault: a case of the task, a full disk, a time limit.
        """
        draft.describe(
            f"The candidate **{self.name}** of a race for **{self.target.name}**, trained up to the rung {self.rung} "
            f"with seed {self.seed}; Dice on the validation cases.",
            [Data(self.target.name, self.target.digest(), self.target.folder, "target")],
        )
        logs = SourceLogs(self.output / "race" / "logs")
        try:
            with attempt(self.state / MARKER, DOING, most=KILLS, again=AGAIN):
                pair = self.pair(store)
                draft.log(tags={"notes": "; ".join(pair.model.notes)} if pair.model.notes else {})
                draft.log(params={"spacing": pair.preparation.spacing or "as stored"})
                describe_network(pair.model.arch.network)  # what cannot be handed over need not be trained
                with blamed_on_source(DOING, advice="a smaller patch or batch of the trainer needs less"), own_disk():
                    advance = partial(
                        trainer.advance,
                        pair.model,
                        self.target,
                        pair.preparation,
                        rung=self.rung,
                        seed=self.seed,
                        device=self.device,
                        report=partial(_checked, report),
                        folder=self.state,
                    )
                    try:
                        done = advance()
                    except CorruptStateError:  # which is deleted, so that this trains from scratch
                        done = advance()
        except FAULTS as error:
            return self._fail(draft, logs.reason(self.name, error))
        return self._log(draft, done)

    def _fail(self, draft: Draft, reason: str) -> str:
        """Log a failure, and delete the state, so that another attempt starts from the source."""
        self._log_failure(draft, reason)
        shutil.rmtree(self.state, ignore_errors=True)
        return reason

    def _log_failure(self, draft: Draft, reason: str) -> None:
        name = f"{VALIDATION_DICE}{self.rung}"
        draft.log(metrics={name: math.nan}, tags={"skipped": reason, f"{REASON}{name}": reason})

    def _log(self, draft: Draft, done: PartialTraining) -> str:
        name, dice = f"{VALIDATION_DICE}{self.rung}", mean_dice(list(done.rung.dice.values()))
        bad = next((step for step, loss in enumerate(done.losses, 1) if not math.isfinite(loss)), None)
        if bad is not None:  # the process was killed before it could say so
            return self._fail(draft, f"the loss is {done.losses[bad - 1]} at step {bad}")
        if math.isnan(dice):
            self._log_failure(draft, reason := "no validation case holds a foreground voxel")
            return reason
        draft.log(metrics={name: dice, f"{SECONDS}{name}": done.rung.seconds})
        draft.curve("loss", done.losses)
        content: dict[str, object] = {
            "losses": list(done.losses),
            "dice": {case: list(values) for case, values in done.rung.dice.items()},
            "steps": done.rung.steps,
            "seconds": done.rung.seconds,
            "validation_seconds": done.rung.validation_seconds,
        }
        draft.json(content, TRAINING)
        parts: dict[str, Sequence[str]] = {part: getattr(done.transfer, part) for part in ("loaded", "fresh", "unused")}
        draft.json(parts, "transfer.json")
        return ""


@contextmanager
def own_disk() -> Iterator[None]:
    """Turn an error of the disk within the block, such as a full one, into a WriteError, which is no candidate's fault.

    Raises:
        WriteError: The disk is full or fails.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK:
            raise
        raise WriteError(f"cannot write {error.filename or 'a file'}: {error.strerror}") from error


def _checked(report: Callable[[int, float], None], step: int, loss: float) -> None:
    """Report a step; a loss that is no number ends the training of the candidate."""
    report(step, loss)
    if not math.isfinite(loss):
        raise SkipPair(f"the loss is {loss} at step {step}")
