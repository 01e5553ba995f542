"""Dice on the validation cases at several steps of a training, with what it took to get there."""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmark.errors import InputError, one_line
from benchmark.storage.files import read_json, write_json
from benchmark.training.resume import CorruptStateError
from benchmark.training.trainer import RUNGS, Rung


def rung_steps(steps: int) -> dict[str, int]:
    """The step after which each rung is measured, in a training of `steps` steps.

    Example:
        >>> rung_steps(100)
        {'eighth': 13, 'quarter': 25, 'half': 50, 'full': 100}
    """
    return {name: math.ceil(share * steps) for name, share in RUNGS.items()}


def race_rungs(steps: int) -> dict[str, int]:
    """The rungs of `rung_steps`, ascending; of names with the same step, the last.

    Example:
        >>> race_rungs(3)
        {'quarter': 1, 'half': 2, 'full': 3}
    """
    last = {step: name for name, step in rung_steps(steps).items()}
    return {name: step for step, name in sorted(last.items())}


@dataclass(frozen=True)
class RungFile:
    """A file with the rungs that a training has passed, for a trainer whose saved state has no place for them."""

    path: Path

    def read(self) -> dict[str, Rung]:
        """Rung -> what was measured; empty without the file.

        Raises:
            CorruptStateError: The file is corrupt; it is deleted.
        """
        try:
            stored = read_json(self.path) if self.path.is_file() else {}
            return {name: Rung(**rung) for name, rung in stored.items()}
        except (InputError, TypeError, AttributeError) as error:
            self.path.unlink()
            raise CorruptStateError(f"corrupt list of measured rungs {self.path} ({one_line(error)}); deleted, run "
                                    "again to measure them") from error  # fmt: skip

    def write(self, rungs: Mapping[str, Rung]) -> None:
        """Replace the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_json(self.path, {name: asdict(rung) for name, rung in rungs.items()})


@dataclass
class RungRecorder:
    """Measures the validation cases during a training, which calls it as described in `Between`.

    Rungs with the same step are measured once.

    Attributes:
        planned: Rung -> the step after which it is measured.
        measure: Computes the Dice of each validation case with the network as it is.
        rungs: The rungs measured so far.
    """

    planned: Mapping[str, int]
    measure: Callable[[], Mapping[str, Sequence[float]]]
    rungs: dict[str, Rung] = field(default_factory=dict, init=False)
    _trained: float = field(default=0.0, init=False)  # seconds of training until `_since`
    _since: float = field(default_factory=time.perf_counter, init=False)

    @property
    def steps(self) -> set[int]:
        """The steps after which something is measured."""
        return set(self.planned.values())

    def start(self, saved: str) -> None:
        """Start the clock, with the rungs and the seconds of an interrupted training, as `state` gave them."""
        if saved:
            values = json.loads(saved)
            self._trained = values["seconds"]
            self.rungs = {name: Rung(**rung) for name, rung in values["rungs"].items()}
        self._since = time.perf_counter()

    def after(self, step: int) -> None:
        """Measure the rungs of a step; the clock of the training stands still meanwhile."""
        self._count()
        start = time.perf_counter()
        dice = dict(self.measure())
        measuring = time.perf_counter() - start
        rung = Rung(step, dice, self._trained + measuring, measuring)
        self.rungs |= {name: rung for name, planned in self.planned.items() if planned == step}
        self._since = time.perf_counter()

    def state(self) -> str:
        """The rungs and the seconds so far, as JSON."""
        self._count()
        return json.dumps({"seconds": self._trained, "rungs": {name: asdict(r) for name, r in self.rungs.items()}})

    def _count(self) -> None:
        now = time.perf_counter()
        self._trained, self._since = self._trained + now - self._since, now
