"""Write the settings of a recognised source as the yaml that `settings_file` reads, and show its fields."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from rich.table import Table
from rich.text import Text
from torch import nn

from benchmark.data.preprocessing.normalise import ChannelSchemes
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.readers.settings_fields import FIELDS
from benchmark.sources.readers.settings_file import FOLDER_FILE, given_settings, settings_path
from benchmark.sources.weights.swin_merging import MERGING

KNOWN = ("settings", "labels", "patch", "spacing", "orientation", "intensities")  # what a model knows of the fields


def schema_table() -> Table:
    """The fields of a source's settings, with type, meaning and example."""
    title = f"settings of a source: unet.yaml next to unet.pt, or an entry `unet.pt: {{...}}` in {FOLDER_FILE}"
    table = Table(title=title, title_justify="left", pad_edge=False, show_lines=True)
    for name in ("field", "type", "meaning", "example"):
        table.add_column(name, overflow="fold")
    for name, field in FIELDS.items():
        table.add_row(*map(Text, (name, field.kind, field.meaning, f"{name}: {field.example}")))
    return table


def write_settings(model: Model) -> Path:
    """Write the settings of a source that was recognised by its weights next to its file.

    Returns:
        The new file.

    Raises:
        InputError: The source describes itself, or it has settings already.
    """
    if model.facts.get("kind") != "state dict":
        kind = model.facts.get("kind", "a model of this project")
        raise InputError(
            f"write=true is for a weights file that is recognised; {model.name} is {kind}, which needs no yaml"
        )
    file = Path(str(model.facts["path"]))
    path = settings_path(file)
    given = None if path.exists() else given_settings(file)
    if path.exists() or given is not None:
        where = given.where if given else path
        raise InputError(
            f"{where} already has settings of {file.name}, and is never overwritten; edit it, or move it away"
        )
    values = _values(model)
    unknown = [f"# {name}: {FIELDS[name].example}\n" for name in KNOWN if name not in values]
    lines = [f"# Settings of {file.name}; `python -m benchmark.inspect --schema` explains the fields.\n"]
    if assumed := model.facts.get("assumed"):
        lines.append(f"# assumed, since no tensor shows it; correct what you know: {' '.join(str(assumed).split())}\n")
    lines.append(yaml.safe_dump(values, sort_keys=False, default_flow_style=None, width=110) if values else "")
    lines += ["# not known:\n", *unknown] if unknown else []
    with path.open("x", encoding="utf-8") as stream:
        stream.write("".join(lines))
    return path


def _values(model: Model) -> dict[str, Any]:
    known: dict[str, Any] = {"settings": _settings(model.arch.network)}
    known |= {"labels": dict(model.labels), "patch": list(model.patch or ())}
    preparation = model.preparation
    if preparation is not None and "spacing" not in preparation.unknown:
        known["spacing"] = _stored_axes(preparation)
    if preparation is not None and preparation.orientation:
        known["orientation"] = preparation.orientation
    if preparation is not None and "intensities" not in preparation.unknown:
        known["intensities"] = _intensities(preparation)
    return {name: value for name, value in known.items() if value}


def _settings(network: object) -> dict[str, Any]:
    """The arguments of a recognised network as plain values; classes of torch.nn by name, others are left out."""
    settings = dict(getattr(network, "keywords", {}))
    forms = [name for name, form in MERGING.items() if form is settings.get("downsample")]
    if forms:
        settings.pop("downsample")
        settings["merging"] = forms[0]
    plain = {name: _plain(value) for name, value in settings.items()}
    return {name: value for name, value in plain.items() if value is not NotImplemented}


def _plain(value: Any) -> Any:
    """A value as YAML has it; NotImplemented if it has no such form."""
    if inspect.isclass(value):
        name = str(getattr(value, "__name__", ""))
        return f"torch.nn.{name}" if getattr(nn, name, None) is value else NotImplemented
    if isinstance(value, list | tuple | Mapping):
        inner = [_plain(item) for item in (value.values() if isinstance(value, Mapping) else value)]
        if any(item is NotImplemented for item in inner):
            return NotImplemented
        return dict(zip(value, inner, strict=True)) if isinstance(value, Mapping) else inner
    return value if value is None or isinstance(value, str | bool | int | float) else NotImplemented


def _stored_axes(preparation: Preparation) -> list[float]:
    """The spacing in mm along X, Y, Z."""
    spacing, axes = preparation.spacing or (), preparation.transpose
    if axes is None:
        return list(spacing)
    named = dict(zip(axes[3 - len(spacing) :], spacing, strict=True))
    return [named[axis] for axis in (2, 1, 0) if axis in named]


def _intensities(preparation: Preparation) -> Any:
    normalisation = preparation.normalisation
    if isinstance(normalisation, ChannelSchemes):
        schemes = [vars(scheme) for scheme in normalisation.schemes]
        return [{name: value for name, value in scheme.items() if value not in (None, False)} for scheme in schemes]
    return "zscore" if normalisation.window is None else {"window": list(normalisation.window)}
