"""One glance at a source; `python -m benchmark.inspect path=checkpoint.pt`, or `source=nnunet source.path=...`."""

from collections.abc import Iterator
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.table import Table
from rich.text import Text

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.errors import InputError
from benchmark.jobs.cli import entry_point
from benchmark.jobs.stage_keys import source_key
from benchmark.jobs.terminal import wide_console
from benchmark.sources.model import Model
from benchmark.sources.networks.discover import Layer, layers_of
from benchmark.sources.opening import open_source
from benchmark.sources.readers.recognise import recognise


def run(cfg: DictConfig) -> None:
    """Open the source and print what it is.

    Raises:
        InputError: No source is named, or it cannot be read, or its code called `sys.exit`.
    """
    node = _node(cfg)
    try:
        _show(node, cfg)
    except SystemExit as error:
        raise InputError(f"source {node.name}: its code called sys.exit({error.code!r})") from error


def _show(node: DictConfig, cfg: DictConfig) -> None:
    model = open_source(node, instantiate(cfg.tracking), Path(cfg.output_dir))
    console = wide_console()
    console.print(_facts(model, source_key(node)))
    console.print(_layers(layers_of(model), model))
    for note in model.notes:
        console.print(Text(f"- {note}"))


def _node(cfg: DictConfig) -> DictConfig:
    source = cfg.get("source")
    if (cfg.path is None) == (source is None):
        given = "none" if source is None else "both"
        raise InputError(f"inspect: one of path= and source= must be given, got {given}")
    return OmegaConf.create(recognise(cfg.path, trust=cfg.trust)) if source is None else source


def _facts(model: Model, key: str) -> Table:
    table = Table(title=f"source {model.name}", show_header=False, title_justify="left", pad_edge=False)
    for name, value in _lines(model, key):
        table.add_row(name, Text(value))
    return table


def _lines(model: Model, key: str) -> Iterator[tuple[str, str]]:
    arch = model.arch
    parameters = sum(p.numel() for p in model.network().parameters())
    unused = [note for note in model.notes if note.startswith("not used")]
    yield "architecture", f"{arch.name}, {arch.dims}D"
    yield "parameters", f"{parameters:,}"
    yield "loaded", f"{len(model.weights)} tensors, all of the network's" + (f"; {unused[0]}" if unused else "")
    yield "input channels", str(model.channels)
    yield "classes", f"{model.classes}: {_labels(model)}" if model.head else "no segmentation head"
    yield "patch", _sides(model.patch) if model.patch else "not known"
    yield "takes", _taken(model)
    yield "preparation", _prepared(model.preparation)
    yield "tuned", "; ".join(f"{part}: {', '.join(getattr(arch, part))}" for part in ("decoder", "last", "head"))
    for name, value in model.facts.items():
        if value not in (None, "") and not isinstance(value, dict | list):
            yield name.replace("_", " "), str(value)
    yield "key", key


def _labels(model: Model) -> str:
    if not model.labels:
        return "names not known"
    return ", ".join(f"{value} {name}" for value, name in sorted(model.labels.items()))


def _sides(sides: tuple[int, ...]) -> str:
    return " x ".join(map(str, sides)) + " voxels"


def _taken(model: Model) -> str:
    arch = model.arch
    if arch.size is not None:
        return f"only patches of {_sides(arch.fit(arch.size))}"
    return f"patches of {_sides(arch.fit((1, 1, 1)))} and multiples of {arch.divisor}"


def _prepared(preparation: Preparation | None) -> str:
    if preparation is None:
        return "not known; the target's is taken"
    spacing = " x ".join(f"{mm:g}" for mm in preparation.spacing or ())
    return f"spacing {f'{spacing} mm' if spacing else 'as stored'}; {_intensities(preparation.normalisation)}"


def _intensities(normalisation: Normalisation | ChannelSchemes) -> str:
    if isinstance(normalisation, ChannelSchemes):
        return ", ".join(scheme.name for scheme in normalisation.schemes)
    return "each volume's z-score" if normalisation.window is None else f"window {normalisation.window}"


def _layers(layers: list[Layer], model: Model) -> Table:
    table = Table(title="layers that can be tapped", title_justify="left", pad_edge=False)
    for name in ("layer", "channels", "resolution", "default"):
        table.add_column(name)
    for layer in layers:
        share = " x ".join(f"1/{step}" if step > 1 else "1" for step in layer.step)
        table.add_row(layer.name, str(layer.channels), share, "yes" if layer.name in model.arch.taps else "")
    return table


main = entry_point("inspect", run)

if __name__ == "__main__":
    main()
