"""The preparation of a task: a window, z-scores, or nnU-Net's plan for its training cases."""

import contextlib
import io
import json
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmark.data.files.cases import CaseFiles
from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.data.preprocessing.plans import preparation_from_plans, read_plans
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.errors import InputError, one_line
from benchmark.storage.digest import files_digest, value_digest
from benchmark.storage.files import write_bytes

KINDS = ("zscore", "window", "nnunet")
NAME = "Dataset001_Target"  # nnU-Net requires a name of this form

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Training:
    """The training cases of a task, as nnU-Net's planner expects them.

    Attributes:
        files: Their files.
        labels: Name -> value, or the values of a region.
        channel_names: Channel -> name; a channel named `CT` is normalised as CT.
        file_ending: The ending of all files.
    """

    files: Sequence[CaseFiles]
    labels: Mapping[str, Any]
    channel_names: Mapping[str, str]
    file_ending: str


@dataclass(frozen=True)
class Plan:
    """Settings of a task's preparation.

    Attributes:
        kind: `zscore`: each volume's own mean and deviation, on the stored grid. `window`: a window, on the stored
            grid. `nnunet`: intensities, axes, crop and spacing as nnU-Net plans them from the training cases.
        window: (low, high) in the image's units, for `window`.
        configuration: A configuration of nnU-Net's plans; None: 3d_fullres if they have it, else 2d.
        folder: The folder of nnU-Net's plans; their names are digests of the training cases.
    """

    kind: str = "zscore"
    window: tuple[float, float] | None = None
    configuration: str | None = None
    folder: str | Path = "outputs/plans"

    def preparation(self, training: Callable[[], Training]) -> Preparation:
        """Make the preparation; `training` is only called for the kind `nnunet`.

        Raises:
            InputError: A setting is invalid, or nnU-Net cannot plan the cases.
        """
        if self.kind not in KINDS:
            raise InputError(f"plan.kind must be one of {', '.join(KINDS)}, got {self.kind}")
        if (self.window is not None) != (self.kind == "window"):
            raise InputError(f"plan.window must be set for the kind window only, got {self.window} for {self.kind}")
        if self.kind != "nnunet":
            return Preparation(Normalisation((self.window[0], self.window[1]) if self.window else None))
        plans = nnunet_plans(training(), folder=Path(self.folder))
        configurations = plans["configurations"]
        chosen = self.configuration or ("3d_fullres" if "3d_fullres" in configurations else "2d")
        return preparation_from_plans(plans, chosen)


def nnunet_plans(training: Training, *, folder: Path) -> dict[str, Any]:
    """Plan training cases with nnU-Net's fingerprint extractor and planner, or read the plans made before.

    Args:
        training: The training cases.
        folder: The folder of the plans.

    Raises:
        InputError: nnU-Net cannot read or plan the cases.
    """
    files = [path for case in training.files for path in (*case.images, case.labels)]
    settings = [training.labels, training.channel_names, training.file_ending, version("nnunetv2")]
    key = value_digest([files_digest(files), settings])
    path = folder / f"{key[:16]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{path}.lock"):
        if not path.is_file():
            with tempfile.TemporaryDirectory() as place, _environment(Path(place)):
                made = _plan(training, Path(place))
                write_bytes(path, made.read_bytes())
    return read_plans(path)


def _plan(training: Training, place: Path) -> Path:
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
    from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

    raw = place / "raw" / NAME
    raw.mkdir(parents=True)
    description = {
        "channel_names": dict(training.channel_names),
        "labels": dict(training.labels),
        "numTraining": len(training.files),
        "file_ending": training.file_ending,
        "dataset": {
            case.name: {"images": [str(path) for path in case.images], "label": str(case.labels)}
            for case in training.files
        },
    }
    (raw / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            extractor = DatasetFingerprintExtractor(NAME, num_processes=1)
            extractor.show_progress_bar = False
            extractor.run()
            planner = ExperimentPlanner(NAME)
            planner.plan_experiment()
    except (AssertionError, RuntimeError, ValueError, KeyError, IndexError, OSError) as error:
        detail = one_line(error)
        raise InputError(f"nnU-Net cannot plan {len(training.files)} cases such as {training.files[0].images[0]} "
                         f"(plan.kind=nnunet): {detail}") from error  # fmt: skip
    log.debug("nnU-Net's planner: %s", output.getvalue())
    return place / "preprocessed" / NAME / f"{planner.plans_identifier}.json"


@contextlib.contextmanager
def _environment(place: Path) -> Iterator[None]:
    """Set the environment variables from which nnU-Net reads its folders and its number of threads."""
    ours = {f"nnUNet_{name}": str(place / name) for name in ("raw", "preprocessed", "results")}
    ours["nnUNet_n_proc_DA"] = "1"  # its planner sets torch's threads to this
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
