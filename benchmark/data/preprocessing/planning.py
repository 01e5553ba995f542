"""The preparation of a task: a window, z-scores, or nnU-Net's plan for its training cases."""

import contextlib
import io
import json
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias, cast

from filelock import FileLock

from benchmark.data.files.cases import CaseFiles
from benchmark.data.files.description import NnunetLabels
from benchmark.data.files.read_image import has_vectors
from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation, Scheme
from benchmark.data.preprocessing.preparation import Preparation, Resampling, settings
from benchmark.errors import InputError, one_line
from benchmark.jobs.interrupts import only_this_process_interrupted
from benchmark.storage.digest import files_digest, value_digest
from benchmark.storage.files import read_json, write_bytes
from benchmark.storage.prepared_settings import prepared_settings

STATISTICS = ("foreground_intensity_properties_per_channel", "foreground_intensity_properties_by_modality")
KINDS = ("zscore", "window", "nnunet")
AS_STORED = ("no_resampling_hack",)  # functions of nnU-Net that resample nothing, whatever the spacing
FOLDERS = ("raw", "preprocessed", "results")  # of nnU-Net, each named by an environment variable
LARGE = 2**26  # bytes of compressed images
NAME = "Dataset001_Target"  # nnU-Net requires a name of this form

log = logging.getLogger(__name__)

Plans: TypeAlias = dict[str, Any]  # nnU-Net's plans.json, or a part of it
Planner: TypeAlias = Callable[[str], Any]  # an experiment planner of nnU-Net, called with the dataset's name


@dataclass(frozen=True)
class RawDataset:
    """Cases as nnU-Net's dataset.json describes them.

    Attributes:
        files: Their files.
        labels: Name -> value, or the values of a region.
        channel_names: Channel -> name; a channel named `CT` is normalised as CT.
        file_ending: The ending of all files.
    """

    files: Sequence[CaseFiles]
    labels: NnunetLabels
    channel_names: Mapping[str, str]
    file_ending: str

    def write(self, folder: Path) -> None:
        """Write dataset.json into a folder, from which relative paths of files start."""
        description = {
            "channel_names": dict(self.channel_names),
            "labels": dict(self.labels),
            "numTraining": len(self.files),
            "file_ending": self.file_ending,
            "dataset": {  # without this nnU-Net starts a dozen processes to match file names
                case.name: {"images": [str(path) for path in case.images], "label": str(case.labels)}
                for case in self.files
            },
        }
        (folder / "dataset.json").write_text(json.dumps(description, indent=1), encoding="utf-8")


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

    def preparation(self, training: Callable[[], RawDataset]) -> Preparation:
        """Make the preparation; the `training` cases are only called for if the kind is `nnunet`.

        Raises:
            InputError: A setting is invalid, or nnU-Net cannot read or plan the cases.
        """
        if self.kind not in KINDS:
            raise InputError(f"plan.kind must be one of {', '.join(KINDS)}, got {self.kind}")
        if (self.window is not None) != (self.kind == "window"):
            raise InputError(f"plan.window must be set for the kind window only, got {self.window} for {self.kind}")
        if self.kind != "nnunet":
            return Preparation(Normalisation((self.window[0], self.window[1]) if self.window else None))
        plans = self._nnunet_plans(training())
        by_default = "3d_fullres" if "3d_fullres" in plans["configurations"] else "2d"
        return preparation_from_plans(plans, self.configuration or by_default)

    def _nnunet_plans(self, training: RawDataset) -> Plans:
        """Plan training cases with nnU-Net, or read the plans made before."""
        files = [path for case in training.files for path in (*case.images, case.labels)]
        settings = [training.labels, training.channel_names, training.file_ending, version("nnunetv2")]
        path = Path(self.folder) / f"{value_digest([files_digest(files), settings])[:16]}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.is_file():
                with tempfile.TemporaryDirectory() as place:
                    write_bytes(path, _plan(training, Path(place)))
        return read_plans(path)


def _plan(training: RawDataset, place: Path) -> bytes:
    """The content of the plans that nnU-Net makes of training cases in an empty folder."""
    folders = {name: place / name for name in FOLDERS}
    raw = folders["raw"] / NAME
    raw.mkdir(parents=True)
    for image in (path for case in training.files for path in case.images):
        if has_vectors(image):
            raise InputError(f"nnU-Net cannot plan {image} (plan.kind=nnunet): its reader takes vectors and colours "
                             "for slices; store one file per channel, or choose plan.kind=zscore")  # fmt: skip
    training.write(raw)
    output = io.StringIO()
    try:
        with environment(variables_of(folders)), contextlib.redirect_stdout(output):
            from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

            path = plan_dataset(NAME, folders["preprocessed"], ExperimentPlanner, processes=_processes(training))
    except (AssertionError, RuntimeError, ValueError, KeyError, IndexError, OSError) as error:
        raise InputError(f"nnU-Net cannot plan {len(training.files)} cases such as {training.files[0].images[0]} "
                         f"(plan.kind=nnunet): {one_line(error)}") from error  # fmt: skip
    log.debug("nnU-Net's planner: %s", output.getvalue())
    return path.read_bytes()


def _processes(training: RawDataset) -> int:
    """Processes that read the cases: several only in a job, and only for files that take longer than their start."""
    settings = prepared_settings()
    if settings is None or sum(path.stat().st_size for case in training.files for path in case.images) < LARGE:
        return 1
    return settings.processes or len(os.sched_getaffinity(0))


def plan_dataset(name: str, preprocessed: Path, planner: Planner, *, processes: int = 1) -> Path:
    """Plan a raw dataset with nnU-Net, once, and return the path of the plans.

    Args:
        name: The dataset's name; it is in the folder that nnU-Net's environment variable names.
        preprocessed: nnU-Net's folder of preprocessed data, which is named likewise.
        planner: An experiment planner of nnU-Net.
        processes: Number of processes that read the cases.
    """
    folder = fingerprint(name, preprocessed, processes=processes)
    with _planning(folder):
        chosen = planner(name)
        path = folder / f"{chosen.plans_identifier}.json"
        if not path.is_file():
            chosen.plan_experiment()
    return path


def fingerprint(name: str, preprocessed: Path, *, processes: int = 1) -> Path:
    """Extract a raw dataset's fingerprint, once, and return its folder; arguments as in `plan_dataset`."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    folder = preprocessed / name
    folder.mkdir(parents=True, exist_ok=True)
    with _planning(folder):
        if not (folder / "dataset_fingerprint.json").is_file():
            extractor = DatasetFingerprintExtractor(name, num_processes=processes)
            extractor.show_progress_bar = False
            with only_this_process_interrupted():
                extractor.run()
    return folder


@contextlib.contextmanager
def _planning(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, with one augmentation process: nnU-Net's planner uses the number for torch's threads."""
    with FileLock(f"{folder}.lock"), environment({"nnUNet_n_proc_DA": "1"}):
        yield


def variables_of(folders: Mapping[str, Path]) -> dict[str, str]:
    """The environment variables from which nnU-Net reads its `FOLDERS`."""
    return {f"nnUNet_{name}": str(folder.resolve()) for name, folder in folders.items()}


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Run the block with environment variables, and restore them afterwards."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def preparation_from_plans(plans: Plans, configuration: str) -> Preparation:
    """The preparation that matches nnU-Net's preprocessing by a configuration of its plans, such as 3d_fullres.

    Raises:
        InputError: The plans lack the configuration or a key, or name code that is not nnU-Net's own.
    """
    try:
        chosen = resolved_configuration(plans, configuration)
        statistics = next(plans[key] for key in STATISTICS if key in plans)
        named = zip(chosen["normalization_schemes"], chosen["use_mask_for_norm"], strict=True)
        schemes = [_scheme(name, masked, statistics.get(str(c), {})) for c, (name, masked) in enumerate(named)]
        return Preparation(
            normalisation=ChannelSchemes(tuple(schemes)),
            spacing=None if chosen["resampling_fn_data"] in AS_STORED else tuple(float(mm) for mm in chosen["spacing"]),
            transpose=tuple(int(axis) for axis in plans["transpose_forward"]),
            crop=True,
            resampling=Resampling(
                chosen["resampling_fn_data"],
                settings(chosen["resampling_fn_data_kwargs"]),
                chosen["resampling_fn_seg"],
                settings(chosen["resampling_fn_seg_kwargs"]),
            ),
        )
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration, RuntimeError) as error:
        detail = error.args[0] if error.args else "no intensity statistics"
        raise InputError(f"plans: cannot use {configuration} as a configuration of nnU-Net v2: {detail}") from error


def read_plans(path: Path) -> Plans:
    """Read a plans file.

    Raises:
        InputError: The file is missing, or not UTF-8 JSON with configurations.
    """
    plans = read_json(path)
    if not isinstance(plans, dict) or not isinstance(plans.get("configurations"), dict):
        raise InputError(f"{path} must be a JSON object with the key configurations")
    return plans


def resolved_configuration(plans: Plans, name: str) -> Plans:
    """A configuration with its inherited settings, and its architecture for plans before nnU-Net 2.4.

    Raises:
        InputError: The plans lack the configuration.
        KeyError, TypeError, ValueError, RuntimeError: A setting is missing or of the wrong type.
    """
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    configurations = plans["configurations"]
    if not isinstance(configurations, dict):
        raise TypeError(f"configurations must be a JSON object, got {type(configurations).__name__}")
    if name not in configurations:
        raise InputError(f"plans: configuration must be one of {', '.join(configurations)}, got {name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of plans before nnU-Net 2.4, which are supported
        return cast("Plans", PlansManager(dict(plans)).get_configuration(name).configuration)


def _scheme(name: str, masked: bool, statistics: Mapping[str, float]) -> Scheme:
    if name != "CTNormalization":
        return Scheme(name, bool(masked))
    mean, std, low, high = (float(statistics[key]) for key in ("mean", "std", "percentile_00_5", "percentile_99_5"))
    return Scheme(name, bool(masked), mean, std, low, high)
