"""A source whose weights file has settings of its user next to it: what another reader reads, completed by them."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from torch import nn

from benchmark.data.preprocessing.preparation import Preparation, in_network_axes
from benchmark.errors import InputError
from benchmark.sources.model import Model, Source
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.discover import discovered
from benchmark.sources.readers.candidates import Candidate, Contents
from benchmark.sources.readers.named_code import code_digest, imported_function, with_own_names
from benchmark.sources.readers.settings_file import GivenSettings, given_settings, has_settings
from benchmark.sources.readers.state_dict import StateDictSource
from benchmark.sources.weights.former_arguments import PresentArguments, present_arguments
from benchmark.sources.weights.safe_load import LAYERS, NETWORKS, module_class, monai_class, reported_as
from benchmark.sources.weights.swin_merging import with_merging
from benchmark.storage.digest import text_digest

UNETS = "dynamic_network_architectures.architectures"  # modules with classes of nnU-Net's network package
MODULES = ("unet", "primus")
CHANNELS, CLASSES = ("in_channels", "input_channels"), ("out_channels", "num_classes")  # names of arguments of classes
READ_BY = ("prefix", "ema", "settings")  # fields that are arguments of the reader


@dataclass(frozen=True)
class DescribedSource:
    """A weights file with settings next to it.

    Attributes:
        name: The source's name.
        path: What the reader reads: the weights file, or the folder that it is in.
        file: The weights file.
        reader: The source without these settings.
        trust: Allow the settings to name functions and classes of any package, and expressions.
    """

    name: str
    path: str | Path
    file: str | Path
    reader: Source
    trust: bool = False

    def digest(self) -> str:
        """SHA-256 over the files of the source, its settings, and the module of a function that they name."""
        given = self._given
        content = json.dumps(given.values if given else {}, sort_keys=True, default=str)
        code = code_digest(given.values["factory"], source=self.name) if given and "factory" in given.values else ""
        return text_digest(f"{self._plain.digest()} {content} {code}")

    def open(self) -> Model:
        """Read the source and complete it.

        Raises:
            InputError: As for the reader; or a setting is refused or does not suit the network.
        """
        given = self._given
        if given is None or not given.values:
            model = self._plain.open()
            return replace(model, notes=(*model.notes, given.note)) if given else model
        return completed(self._source(given).open(), given)

    @property
    def _given(self) -> GivenSettings | None:
        return given_settings(Path(self.file), Path(self.path), trust=self.trust)

    @property
    def _plain(self) -> Source:
        own = {"name": self.name, "trust": self.trust}
        return _replaced(self.reader, {name: value for name, value in own.items() if _takes(self.reader, name)})

    def _source(self, given: GivenSettings) -> Source:
        """The source with those settings that its reader takes."""
        values = dict(given.values)
        source = self._plain
        if "network" in values or "factory" in values:
            arch = named_architecture(given, source=self.name, trust=self.trust)
            source = StateDictSource(self.name, self.file, arch=arch)
            values.pop("settings", None)
        elif lone := [field for field in ("dims", "fixed") if values.get(field)]:
            raise given.error(lone[0], "needs `network` or `factory`; a recognised network shows it itself")
        elif "settings" in values:
            values["settings"] = _with_classes(values["settings"], given)
        for field in READ_BY:
            if field in values and not _takes(source, field):
                kind = type(source).__name__.removesuffix("Source")
                raise given.error(
                    field, f"has no use: {Path(self.file).name} is read as {kind}, which describes itself"
                )
        return _replaced(source, {name: values[name] for name in READ_BY if name in values})


def with_settings(contents: Contents) -> Contents:
    """Contents whose candidates take the settings next to their weights files, where there are any."""
    return replace(
        contents,
        source=_described(contents.source),
        candidates=tuple(_described(source) for source in contents.candidates),
    )


def _described(source: Candidate) -> Candidate:
    if source.file is None or not has_settings(source.file, Path(source.path)):
        return source
    settings = {"path": source.path, "file": str(source.file), "reader": source.node(source.names[0], trust=False)}
    return Candidate(DescribedSource, settings, source.names, source.file)


def _takes(source: Source, field: str) -> bool:
    return field in {item.name for item in fields(cast("Any", source))}


def _replaced(source: Source, values: Mapping[str, object]) -> Source:
    return cast("Source", replace(cast("Any", source), **values))


def completed(model: Model, given: GivenSettings) -> Model:
    """A source with the labels, patch and preparation of its settings.

    Raises:
        InputError: The labels are not as many as the classes, or the patch does not suit the network.
    """
    _check_counts(model, given)
    labels, patch = given.values.get("labels"), given.values.get("patch")
    if labels and model.head and len(labels) != model.classes:
        raise given.error("labels", f"must name the head's {model.classes} channels, got {len(labels)}")
    if patch and len(patch) < model.arch.dims:
        raise given.error("patch", f"must have {model.arch.dims} sides, got {patch}")
    only = list(model.arch.size or ())
    if patch and only and patch[-model.arch.dims :] != only:
        raise given.error("patch", f"must be {only}, the only size that the network accepts, got {patch}")
    return replace(
        model,
        labels=labels or model.labels,
        patch=model.arch.fit(patch) if patch else model.patch,
        preparation=_preparation(model, given),
        facts={**model.facts, "settings": given.where},
        notes=(f"given by {given.title}: {', '.join(_names(given.values))}", *model.notes),
    )


def _check_counts(model: Model, given: GivenSettings) -> None:
    """Refuse settings whose numbers of channels, classes or axes are not those of the network."""
    settings, spacing, schemes = (given.values.get(field) for field in ("settings", "spacing", "intensities"))
    for names, number in ((CHANNELS, model.channels), (CLASSES, model.classes)):
        if wrong := [name for name in names if (settings or {}).get(name, number) != number]:
            raise given.error(f"settings.{wrong[0]}", f"must be {number}, as the weights show, or be left out")
    if spacing and len(spacing) < model.arch.dims:
        raise given.error("spacing", f"must have {model.arch.dims} numbers, got {spacing}")
    if isinstance(schemes, list) and len(schemes) not in (1, model.channels):
        raise given.error(
            "intensities", f"must have a scheme for each of {model.channels} channels, got {len(schemes)}"
        )


def _names(values: Mapping[str, Any]) -> list[str]:
    settings = [f"settings.{name}" for name in values.get("settings", {})]
    return [name for field in values for name in (settings if field == "settings" else [field])]


def _preparation(model: Model, given: GivenSettings) -> Preparation | None:
    """The source's own preparation with the given spacing, orientation and intensities; None if nothing is known."""
    preparation = model.preparation or Preparation(unknown=("intensities", "spacing"))
    known = set()
    if intensities := given.intensities:
        preparation = replace(preparation, normalisation=intensities)
        known.add("intensities")
    if spacing := given.values.get("spacing"):
        sides, axes = in_network_axes(spacing, dims=model.arch.dims, transpose=preparation.transpose)
        preparation = replace(preparation, spacing=sides, transpose=axes)
        known.add("spacing")
    if orientation := given.values.get("orientation"):
        preparation = replace(preparation, orientation=orientation)
        known.add("orientation")
    unknown = tuple(part for part in preparation.unknown if part not in known)
    return replace(preparation, unknown=unknown) if known else model.preparation


def named_architecture(given: GivenSettings, *, source: str, trust: bool) -> Architecture:
    """The architecture of the class or function that the settings name.

    Args:
        given: The settings.
        source: The source's name, for errors.
        trust: Allow classes of any package.

    Raises:
        InputError: The class or function is refused, cannot be imported, or does not take the settings.
    """
    values = given.values
    if "factory" in values:
        function, name = imported_function(values["factory"], source=source), values["factory"]
    else:
        function = _network_class(values["network"], where=f"{given.where}: `network`", trust=trust)
        name = function.__name__.lower()
    settings = _with_classes(values.get("settings", {}), given)
    present = present_arguments(function, settings) if inspect.isclass(function) else PresentArguments(settings)
    settings = with_merging(function.__name__, present.settings, source=source)
    size = values["patch"] if values.get("fixed") else settings.get("img_size")
    with reported_as(f"{given.where}: {function.__name__} does not take the settings {sorted(settings)}"):
        network = _with_usual_names(function, settings)
        return discovered(name, network, dims=values.get("dims") or _dims(function, settings), size=size)


def _network_class(name: str, *, where: str, trust: bool) -> type[nn.Module]:
    """A class by its own name in MONAI or in nnU-Net's network package, or by its dotted name."""
    if "." not in name:
        for module in MODULES:
            dotted = f"{UNETS}.{module}.{name}"
            try:
                return module_class(dotted, within=NETWORKS, where=where)
            except InputError:
                continue
    return monai_class(name, where=where, trust=trust)


def _with_classes(settings: Mapping[str, Any], given: GivenSettings) -> dict[str, Any]:
    """Settings with the classes of layers that their texts name, such as torch.nn.InstanceNorm3d."""
    classes = {
        name: module_class(value, within=LAYERS, where=f"{given.where}: settings.{name}")
        for name, value in settings.items()
        if isinstance(value, str) and value.startswith(tuple(f"{package}." for package in LAYERS))
    }
    return {**settings, **classes}


def _with_usual_names(function: Callable[..., Any], settings: Mapping[str, Any]) -> Callable[..., nn.Module]:
    """The factory with `in_channels` and `out_channels`, whatever the class calls these arguments."""
    known = inspect.signature(function).parameters
    channels, classes = (next((name for name in names if name in known), names[0]) for names in (CHANNELS, CLASSES))
    settings = {name: value for name, value in settings.items() if name not in (channels, classes)}
    made = partial(function, **settings)
    return (
        made if (channels, classes) == (CHANNELS[0], CLASSES[0]) else partial(with_own_names, made, channels, classes)
    )


def _dims(function: Callable[..., Any], settings: Mapping[str, Any]) -> int:
    """3, or 2 for a network whose arguments say so."""
    parameter = inspect.signature(function).parameters.get("spatial_dims")
    usual = parameter.default if parameter and isinstance(parameter.default, int) else 3
    operation = getattr(settings.get("conv_op"), "__name__", "")
    return 2 if operation.endswith("2d") else int(settings.get("spatial_dims", usual))
