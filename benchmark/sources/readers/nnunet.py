"""Read a source trained by nnU-Net v2: a results folder `Trainer__Plans__configuration`.

Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation, Nature
Methods 2021, 10.1038/s41592-020-01008-z. The network is built by nnU-Net's own function from plans.json, with deep
supervision off; only classes of its own network package and of torch.nn are imported.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from operator import itemgetter
from pathlib import Path
from typing import Any, cast

from torch import nn

from benchmark.data.preprocessing.planning import Plans, preparation_from_plans
from benchmark.errors import InputError, one_line
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.discover import STAGES, discovered
from benchmark.sources.readers import nnunet_folder
from benchmark.sources.readers.candidates import Candidate, Contents, absolute_path, is_plain_file, names_below
from benchmark.sources.weights.match import Network, fitted
from benchmark.sources.weights.safe_load import (
    LAYERS,
    NETWORKS,
    literal,
    module_class,
    read_weights,
    reported_as,
    unwrap,
    weights_digest,
)
from benchmark.storage.files import read_json


@dataclass(frozen=True)
class NnunetSource:
    """A results folder of nnU-Net v2, with plans.json, dataset.json and fold_X; attributes not listed as in `Reader`.

    Attributes:
        fold: The fold, a number or "all"; None: the first finished fold.
        checkpoint: "final", "best" or "latest"; None: the first of these that the fold has.
        configuration: 2d, 3d_fullres and so on; None: the configuration in the checkpoint or the folder's name.
    """

    name: str
    path: str | Path
    fold: int | str | None = None
    checkpoint: str | None = None
    configuration: str | None = None
    trust: bool = False

    @classmethod
    def recognises(cls, path: Path) -> Contents | None:
        """Recognise a results folder, a fold in it, or a checkpoint in a fold."""
        if nnunet_folder.is_results_folder(path):
            return cls._results(path)
        if nnunet_folder.is_fold(path):
            file = next(
                (file for file in nnunet_folder.fold_checkpoints(path.parent) if file.parent.name == path.name), None
            )
            fold = path.name.removeprefix("fold_")
            source = cls._candidate(path.parent, file, {"fold": fold})
            owned = frozenset(path / name for name in nnunet_folder.CHECKPOINTS.values())
            return Contents(
                source, (source,) if file else (), owned, nnunet_folder.missing_checkpoint(path.parent, fold=fold)
            )
        if path.name in nnunet_folder.CHECKPOINTS.values() and nnunet_folder.is_fold(path.parent) and path.is_file():
            return Contents(cls._candidate(path.parent.parent, path, _settings_of(path)))
        return None

    @classmethod
    def _results(cls, folder: Path) -> Contents:
        """A results folder; if its first checkpoint is a symbolic link, a pool takes the first that is not."""
        checkpoints = nnunet_folder.fold_checkpoints(folder)
        plain = [path for path in checkpoints if is_plain_file(path) and not path.parent.is_symlink()]
        owned = frozenset({*checkpoints, folder / "plans.json", folder / "dataset.json"})
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
        """SHA-256 over plans, dataset and checkpoint."""
        folder = Path(self.path)
        return weights_digest(folder / "plans.json", folder / "dataset.json", self._chosen().path)

    def open(self) -> Model:
        """Read the checkpoint.

        Raises:
            InputError: A file or key is missing, a class is refused, or the weights do not match the plans.
        """
        with reported_as(f"cannot build a network from {self.path}"):
            folder, chosen = Path(self.path), self._chosen()
            path = chosen.path
            plans, dataset = _json(folder / "plans.json"), _json(folder / "dataset.json")
            content = read_weights(path)
            stated = content.get("init_args", {}).get("configuration")
            configuration = self.configuration or str(stated or folder.name.rpartition("__")[2])
            plan = _plan(plans, configuration, folder / "plans.json")
            trainer = str(content.get("trainer_name") or folder.name.partition("__")[0])
            parts, changes = nnunet_folder.trained_architecture(plan, trainer, source=self.name)
            unknown = None if nnunet_folder.built_by(trainer) else nnunet_folder.unknown_trainer(trainer)
            where = f"{folder / 'plans.json'}: {configuration}"
            arch = _architecture(parts, patch=plan["patch_size"], where=where, trust=self.trust)
            weights = unwrap(content, path).weights
            try:
                fit = fitted(arch, weights, source=self.name)
            except InputError as error:
                raise InputError(f"{error}; {unknown}" if unknown else str(error)) from error
            labels, remarks = _labels(dataset, folder / "dataset.json")
            facts = {"kind": "nnU-Net", "path": str(path), "configuration": configuration, "trainer": trainer}
            return fit.model(
                self.name,
                arch,
                facts=facts | {"cases": dataset.get("numTraining")},
                assumed={"network": "that of plans.json"} if unknown else None,
                labels=labels,
                preparation=preparation_from_plans(plans, configuration),
                patch=plan["patch_size"],
                notes=(*chosen.notes, *changes, *remarks),
            )

    def _chosen(self) -> nnunet_folder.Choice:
        return nnunet_folder.choose_checkpoint(
            Path(self.path), source=self.name, fold=self.fold, checkpoint=self.checkpoint
        )


def _settings_of(checkpoint: Path) -> dict[str, str]:
    kind = next(kind for kind, name in nnunet_folder.CHECKPOINTS.items() if name == checkpoint.name)
    return {"fold": checkpoint.parent.name.removeprefix("fold_"), "checkpoint": kind}


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path} not found; nnU-Net writes it next to its folds")
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} must be a JSON object, got {type(content).__name__}")
    return content


def _plan(plans: Plans, configuration: str, path: Path) -> Plans:
    """The plan of a configuration with inherited settings and, for plans before nnU-Net 2.4, its architecture."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # plans before 2.4 are supported
            plan: Plans = PlansManager(dict(plans)).get_configuration(configuration).configuration
        itemgetter("architecture", "patch_size")(plan)
        itemgetter("network_class_name", "arch_kwargs", "_kw_requires_import")(plan["architecture"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path} has no complete configuration {configuration}: {one_line(error)}") from error
    if plan.get("previous_stage"):
        raise InputError(f"{path}: {configuration} is a cascade, whose input is another network's; not supported")
    return plan


def _architecture(parts: Plans, *, patch: Sequence[int], where: str, trust: bool) -> Architecture:
    network = module_class(parts["network_class_name"], within=NETWORKS[1:], where=where, trust=trust)
    settings = dict(parts["arch_kwargs"])
    needed = list(parts["_kw_requires_import"])
    for name in needed:
        if settings.get(name) is not None:
            module_class(settings[name], within=LAYERS, where=f"{where}.{name}", trust=trust)
    literal(settings, where=where)
    dims = len(patch)
    name = f"nnunet_{network.__name__.lower()}"
    factory = partial(_network, parts["network_class_name"], settings, needed)
    if "n_stages" not in settings or "n_conv_per_stage_decoder" not in settings:
        return discovered(name, factory, dims=dims, size=patch)
    return _unet(name, factory, settings, dims)


def _network(
    cls: str, settings: dict[str, object], needed: list[str], *, in_channels: int, out_channels: int
) -> nn.Module:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    return cast(
        "nn.Module",
        get_network_from_plans(
            cls, settings, needed, in_channels, out_channels, allow_init=True, deep_supervision=False
        ),
    )


def _unet(name: str, factory: Network, settings: Plans, dims: int) -> Architecture:
    """The architecture of a network with nnU-Net's own decoder, whose part names are known."""
    stages = int(settings["n_stages"]) - 1
    strides = [step if isinstance(step, list | tuple) else [step] * dims for step in settings["strides"]]
    return Architecture(
        name=name,
        network=factory,
        taps=tuple(f"decoder.stages.{i}" for i in range(max(0, stages - STAGES), stages)),
        decoder=("decoder.stages", "decoder.transpconvs"),
        last=(f"decoder.stages.{stages - 1}", f"decoder.transpconvs.{stages - 1}"),
        head=("decoder.seg_layers",),
        width=int(settings["features_per_stage"][0]),
        divisor=tuple(prod(map(int, steps)) for steps in zip([1] * dims, *strides, strict=True)),
        least=2,
        dims=dims,
    )


def _labels(dataset: Mapping[str, object], path: Path) -> tuple[dict[int, str], list[str]]:
    """The classes of the head's channels, and notes; regions have a channel each and no background."""
    labels = dataset.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise InputError(f"{path} must map class names to labels, got {labels!r}")
    if any(isinstance(value, list | tuple) for value in labels.values()):
        names = [name for name, value in labels.items() if value != 0 and name != "ignore"]
        return dict(enumerate(names)), ["its head has a channel per region; regions are read as exclusive classes"]
    return {int(value): name for name, value in labels.items() if name != "ignore"}, []
