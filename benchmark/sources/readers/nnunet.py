"""Read a source trained by nnU-Net v2: a results folder `Trainer__Plans__configuration`, or a single checkpoint.

Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation, Nature
Methods 2021, 10.1038/s41592-020-01008-z. The network is built by nnU-Net's own functions from plans.json, or from the
plans in the checkpoint, with deep supervision off.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmark.data.preprocessing.planning import Plans, preparation_from_plans
from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.readers import nnunet_folder
from benchmark.sources.readers.candidates import (
    Candidate,
    Contents,
    absolute_path,
    is_plain_file,
    names_below,
    single_file,
)
from benchmark.sources.readers.nnunet_network import Configured, FittedNetwork, configured, network_of
from benchmark.sources.readers.state_dict import fit_recognised, recognised
from benchmark.sources.weights.digest import weights_digest
from benchmark.sources.weights.match import check_labels
from benchmark.sources.weights.safe_load import left_out_note, read_file, reported_as, state_of
from benchmark.storage.files import read_json


@dataclass(frozen=True)
class NnunetSource:
    """A results folder of nnU-Net v2 or a single checkpoint; attributes not listed as in `Reader`.

    Attributes:
        path: The folder with plans.json, dataset.json and fold_X, or a checkpoint that contains its plans.
        fold: The fold, a number or "all"; None: the first finished fold.
        checkpoint: "final", "best", "latest" or the name of another file; None: the first of these that the fold has.
        configuration: 2d, 3d_fullres and so on; None: the configuration in the checkpoint or the folder's name.
        ema: Take the EMA weights of a checkpoint that also has plain ones.
    """

    name: str
    path: str | Path
    fold: int | str | None = None
    checkpoint: str | None = None
    configuration: str | None = None
    trust: bool = False
    ema: bool = False

    @classmethod
    def recognises(cls, path: Path) -> Contents | None:
        """Recognise a results folder, a fold in it, a checkpoint in a fold, or a checkpoint anywhere."""
        if nnunet_folder.is_results_folder(path):
            return cls._results(path)
        if nnunet_folder.is_fold(path):
            files = [file for file in nnunet_folder.fold_checkpoints(path.parent) if file.parent.name == path.name]
            fold = path.name.removeprefix("fold_")
            source = cls._candidate(path.parent, next(iter(files), None), {"fold": fold})
            reason = nnunet_folder.missing_checkpoint(path.parent, fold=fold)
            return Contents(source, (source,) if files else (), frozenset(files), reason)
        own_name = path.name in nnunet_folder.CHECKPOINTS.values() and path.is_file()
        if nnunet_folder.is_fold(path.parent) and (own_name or nnunet_folder.is_checkpoint(path)):
            return Contents(cls._candidate(path.parent.parent, path, _settings_of(path)))
        return single_file(cls, path) if nnunet_folder.is_checkpoint(path) else None

    @classmethod
    def _results(cls, folder: Path) -> Contents:
        """A results folder; if its first checkpoint is a symbolic link, a pool takes the first that is not."""
        checkpoints = nnunet_folder.fold_checkpoints(folder)
        plain = [path for path in checkpoints if is_plain_file(path) and not path.parent.is_symlink()]
        owned = frozenset({*checkpoints, *(folder / name for name in nnunet_folder.DESCRIPTION)})
        source = cls._candidate(folder, next(iter(checkpoints), None))
        candidates = (source,) if plain else ()
        if plain and plain[0] != checkpoints[0]:
            candidates = (cls._candidate(folder, plain[0], _settings_of(plain[0])),)
        return Contents(source, candidates, owned, nnunet_folder.missing_checkpoint(folder))

    @classmethod
    def _candidate(cls, folder: Path, file: Path | None, settings: Mapping[str, str] | None = None) -> Candidate:
        """A checkpoint of a results folder, named by data set and configuration, then trainer, plans, fold."""
        place = absolute_path(folder)
        end = f"__{file.parent.name}" if file else ""
        whole = f"{end}__{file.stem.removeprefix('checkpoint_')}" if file else ""
        above, names = place.parent, [place.name] * 4
        if place.name.count("__") == 2:
            trainer, plans, configuration = place.name.split("__")
            parts = (configuration, f"{trainer}__{configuration}", f"{plans}__{configuration}", place.name)
            above, names = above.parent, [f"{above.name}__{part}" for part in parts]
        every = names_below(above, *names, f"{names[0]}{end}", f"{names[-1]}{whole}")
        return Candidate(cls, {"path": str(folder), **(settings or {})}, every, file)

    def digest(self) -> str:
        """SHA-256 over the checkpoint, and over plans and dataset if they are not in the checkpoint alone."""
        path = self._chosen().path
        files = [self._folder(path) / name for name in nnunet_folder.DESCRIPTION]
        return weights_digest(*(file for file in files if file.is_file()), path)

    def open(self) -> Model:
        """Read the checkpoint.

        Raises:
            InputError: A file or key is missing, a class is refused, or the weights do not match the plans.
        """
        with reported_as(f"cannot build a network from {self.path}"):
            chosen = self._chosen()
            read = read_file(chosen.path)
            described = self._described(read.content, chosen.path)
            plan = configured(described.plans, described.configuration, described.plans_from, trust=self.trust)
            state = state_of(read, chosen.path, ema=self.ema)
            known = partial(_known_family, plan, described.trainer, state.weights, source=self.name)
            network = network_of(plan, described.trainer, state.weights, source=self.name, otherwise=known)
            averages = [note for note in state.notes if "EMA weights" in note or note.startswith("not averaged")]
            labels, remarks = _labels(described.dataset, described.dataset_from)
            facts = {"configuration": described.configuration, "trainer": described.trainer}
            return network.fit.model(
                self.name,
                network.arch,
                facts={"kind": "nnU-Net", "path": str(chosen.path)}
                | facts
                | {"cases": described.dataset.get("numTraining")},
                assumed=network.assumed,
                labels=check_labels(labels, network.fit, f"{self.name}: {described.dataset_from}"),
                preparation=preparation_from_plans(described.plans, described.configuration),
                patch=plan.patch,
                notes=(
                    *chosen.notes,
                    *left_out_note(read, chosen.path),
                    *averages,
                    *described.notes,
                    *network.notes,
                    *remarks,
                ),
            )

    def _chosen(self) -> nnunet_folder.Choice:
        if Path(self.path).is_file():
            if self.fold is not None or self.checkpoint is not None:
                rule = "`fold` and `checkpoint` choose a file of a results folder"
                raise InputError(f"source {self.name}: {rule}, but path is the file {self.path}")
            return nnunet_folder.Choice(Path(self.path))
        return nnunet_folder.choose_checkpoint(
            Path(self.path), source=self.name, fold=self.fold, checkpoint=self.checkpoint
        )

    def _folder(self, checkpoint: Path) -> Path:
        """The folder where plans.json and dataset.json are looked for."""
        return nnunet_folder.description_folder(checkpoint) if Path(self.path).is_file() else Path(self.path)

    def _described(self, content: object, path: Path) -> "Description":
        """What describes the network: files of a results folder before a copy in the checkpoint, else the copy first.

        Raises:
            InputError: Neither has the plans or the dataset.
        """
        whole: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
        settings = stated if isinstance(stated := whole.get("init_args"), Mapping) else {}
        folder = self._folder(path)
        parts, sources, inner, missing = [], [], [], []
        for name, key in zip(nnunet_folder.DESCRIPTION, ("plans", "dataset_json"), strict=True):
            file, own = folder / name, settings.get(key)
            if file.is_file() and (Path(self.path).is_dir() or not isinstance(own, dict)):
                parts.append(_json(file))
                sources.append(str(file))
            elif isinstance(own, dict):
                parts.append(own)
                sources.append(f"{path}: init_args.{key}")
                inner.append(name)
            else:
                missing.append(name)
        if missing:
            raise nnunet_folder.missing_description(path, missing)
        is_named = folder.name.count("__") == 2
        trainer = whole.get("trainer_name") or (folder.name.partition("__")[0] if is_named else "")
        configuration = (
            self.configuration or settings.get("configuration") or _only(parts[0], folder if is_named else None)
        )
        notes = [f"{' and '.join(inner)} as in the checkpoint's own init_args"] if inner else []
        return Description(parts[0], parts[1], sources[0], sources[1], str(configuration), str(trainer), tuple(notes))


@dataclass(frozen=True)
class Description:
    """Plans and dataset.json of a checkpoint, their files for errors, its configuration and trainer, and notes."""

    plans: Plans
    dataset: Mapping[str, Any]
    plans_from: str
    dataset_from: str
    configuration: str
    trainer: str
    notes: tuple[str, ...] = ()


def _known_family(plan: Configured, trainer: str, weights: Mapping[str, Tensor], *, source: str) -> FittedNetwork:
    """A network recognised by its tensors, as those of STU-Net's trainers; what these do not show is as in the plans.

    Raises:
        InputError: No network is recognised, or the weights do not match it.
    """
    planned: dict[str, object] = {"strides": plan.strides[1:], "img_size": list(plan.patch)}
    try:
        network = recognised(weights, source=source, settings={})
    except InputError:  # a size that no tensor shows
        network = recognised(weights, source=source, settings={"img_size": planned["img_size"]})
    if given := {name: value for name, value in planned.items() if value and name in network.guess.assumed}:
        network = recognised(weights, source=source, settings=given)
    note = f"trainer {trainer or '(not named)'}: its network is not that of plans.json"
    used = [f"{name} of {network.guess.network} as in plans.json: {value}" for name, value in given.items()]
    fit = fit_recognised(network, source=source)
    return FittedNetwork(network.arch, fit, network.guess.assumed, (note, *network.notes, *used))


def _only(plans: Plans, folder: Path | None) -> str:
    """The configuration in the name of a results folder, or else the only one of the plans; empty if unknown."""
    configurations = plans.get("configurations")
    if folder is not None:
        return folder.name.rpartition("__")[2]
    return str(*configurations) if isinstance(configurations, dict) and len(configurations) == 1 else ""


def _settings_of(checkpoint: Path) -> dict[str, str]:
    own = (kind for kind, name in nnunet_folder.CHECKPOINTS.items() if name == checkpoint.name)
    fold = checkpoint.parent.name
    folded = {"fold": fold.removeprefix("fold_")} if fold.startswith("fold_") else {}
    return {**folded, "checkpoint": next(own, checkpoint.name)}


def _json(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} must be a JSON object, got {type(content).__name__}")
    return content


def _labels(dataset: Mapping[str, object], where: str) -> tuple[dict[int, str], list[str]]:
    """The classes of the head's channels, and notes; regions have a channel each and no background."""
    labels = dataset.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise InputError(f"{where} must map class names to labels, got {labels!r}")
    if any(isinstance(value, list | tuple) for value in labels.values()):
        names = [name for name, value in labels.items() if value != 0 and name != "ignore"]
        return dict(enumerate(names)), ["its head has a channel per region; regions are read as exclusive classes"]
    return {int(value): name for name, value in labels.items() if name != "ignore"}, []
