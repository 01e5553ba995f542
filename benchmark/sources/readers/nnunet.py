"""Read a source trained by nnU-Net v2: a results folder `Trainer__Plans__configuration`.

Isensee et al., nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation, Nature
Methods 2021, 10.1038/s41592-020-01008-z. The network is built by nnU-Net's own function from plans.json, with deep
supervision off; only classes of its own network package and of torch.nn are imported.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from benchmark.data.preprocessing.plans import preparation_from_plans
from benchmark.errors import InputError, one_line
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.discover import STAGES, discovered
from benchmark.sources.readers.nnunet_folder import Choice, choose_checkpoint
from benchmark.sources.readers.nnunet_trainers import built_by, other, trained_architecture
from benchmark.sources.weights.corrupt_files import described_by
from benchmark.sources.weights.match import fitted
from benchmark.sources.weights.safe_load import file_digest, read_weights, unwrap
from benchmark.sources.weights.trusted_classes import LAYERS, NETWORKS, literal, module_class


@dataclass(frozen=True)
class NnunetSource:
    """A results folder of nnU-Net v2.

    Attributes:
        name: The source's name.
        path: The folder with plans.json, dataset.json and fold_X.
        fold: The fold, a number or "all"; None: the first finished fold.
        checkpoint: "final", "best" or "latest"; None: the first of these that the fold has.
        configuration: 2d, 3d_fullres and so on; None: the configuration in the folder's name.
        trust: Allow classes of any package.
    """

    name: str
    path: str | Path
    fold: int | str | None = None
    checkpoint: str | None = None
    configuration: str | None = None
    trust: bool = False

    def digest(self) -> str:
        """SHA-256 over plans, dataset and checkpoint."""
        folder = Path(self.path)
        return file_digest(folder / "plans.json", folder / "dataset.json", self._chosen().path)

    def open(self) -> Model:
        """Read the checkpoint.

        Raises:
            InputError: A file or key is missing, a class is refused, or the weights do not match the plans.
        """
        with described_by(self.path):
            return self._open()

    def _open(self) -> Model:
        folder, chosen = Path(self.path), self._chosen()
        path = chosen.path
        plans, dataset = _json(folder / "plans.json"), _json(folder / "dataset.json")
        content = read_weights(path)
        configuration = self._configuration(content)
        plan = _plan(plans, configuration, folder / "plans.json")
        trainer = str(content.get("trainer_name") or folder.name.partition("__")[0])
        parts, changes = trained_architecture(plan, trainer, source=self.name)
        where = f"{folder / 'plans.json'}: {configuration}"
        arch = _architecture(parts, patch=plan["patch_size"], where=where, trust=self.trust)
        try:
            fit = fitted(
                arch.network,
                unwrap(content, path).weights,
                source=self.name,
                head=arch.head,
                decoder=arch.decoder,
            )
        except InputError as error:
            raise InputError(f"{error}; {other(trainer)}" if built_by(trainer) is None else str(error)) from error
        labels, remarks = _labels(dataset, folder / "dataset.json")
        return Model(
            name=self.name,
            arch=arch,
            weights=fit.weights,
            channels=fit.channels,
            classes=fit.classes,
            labels=labels,
            preparation=preparation_from_plans(plans, configuration),
            patch=arch.fit(plan["patch_size"]),
            facts={
                "kind": "nnU-Net",
                "path": str(path),
                "configuration": configuration,
                "trainer": trainer,
                "cases": dataset.get("numTraining"),
            }
            | ({"assumed": "network = that of plans.json"} if built_by(trainer) is None else {}),
            notes=(*chosen.notes, *changes, *remarks, *fit.notes),
            head=fit.head,
        )

    def _chosen(self) -> Choice:
        return choose_checkpoint(Path(self.path), source=self.name, fold=self.fold, checkpoint=self.checkpoint)

    def _configuration(self, content: Any) -> str:
        if self.configuration is not None:
            return self.configuration
        stated = content.get("init_args", {}).get("configuration") if isinstance(content, Mapping) else None
        return str(stated or Path(self.path).name.rpartition("__")[2])


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path} not found; nnU-Net writes it next to its folds") from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path} as UTF-8 JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} must be a JSON object, got {type(content).__name__}")
    return content


def _plan(plans: Mapping[str, Any], configuration: str, path: Path) -> dict[str, Any]:
    """The plan of a configuration with inherited settings and, for plans before nnU-Net 2.4, its architecture."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # plans before 2.4 are supported
            found: dict[str, Any] = PlansManager(dict(plans)).get_configuration(configuration).configuration
        for key in ("architecture", "patch_size"):
            found[key]
        for key in ("network_class_name", "arch_kwargs", "_kw_requires_import"):
            found["architecture"][key]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = one_line(error)
        raise InputError(f"{path} has no complete configuration {configuration}: {reason}") from error
    if found.get("previous_stage"):
        raise InputError(f"{path}: {configuration} is a cascade, whose input is another network's; not supported")
    return found


def _architecture(parts: Mapping[str, Any], *, patch: Sequence[int], where: str, trust: bool) -> Architecture:
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
    cls: str, settings: dict[str, Any], needed: list[str], *, in_channels: int, out_channels: int
) -> nn.Module:
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    network: nn.Module = get_network_from_plans(
        cls, settings, needed, in_channels, out_channels, allow_init=True, deep_supervision=False
    )
    return network


def _unet(name: str, factory: Any, settings: Mapping[str, Any], dims: int) -> Architecture:
    """The architecture of a network with nnU-Net's own decoder, whose part names are known."""
    stages = int(settings["n_stages"]) - 1
    divisor = [1] * dims
    for stride in settings["strides"]:
        steps = stride if isinstance(stride, list | tuple) else [stride] * dims
        divisor = [side * int(step) for side, step in zip(divisor, steps, strict=True)]
    return Architecture(
        name=name,
        network=factory,
        taps=tuple(f"decoder.stages.{i}" for i in range(max(0, stages - STAGES), stages)),
        decoder=("decoder.stages", "decoder.transpconvs"),
        last=(f"decoder.stages.{stages - 1}", f"decoder.transpconvs.{stages - 1}"),
        head=("decoder.seg_layers",),
        width=int(settings["features_per_stage"][0]),
        divisor=tuple(divisor),
        least=2,
        dims=dims,
    )


def _labels(dataset: Mapping[str, Any], path: Path) -> tuple[dict[int, str], list[str]]:
    """The classes of the head's channels, and notes; regions have a channel each and no background."""
    labels = dataset.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise InputError(f"{path} must map class names to labels, got {labels!r}")
    if any(isinstance(value, list | tuple) for value in labels.values()):
        names = [name for name, value in labels.items() if value != 0 and name != "ignore"]
        return dict(enumerate(names)), ["its head has a channel per region; regions are read as exclusive classes"]
    return {int(value): name for name, value in labels.items() if name != "ignore"}, []
