"""One glance at a source; `python -m benchmark.inspect path=checkpoint.pt`, or `source=nnunet source.path=...`.

With `task=FOLDER` it also says whether and how the source meets the labelled cases in that folder.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from rich.table import Table
from rich.text import Text

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.task import Task
from benchmark.errors import InputError
from benchmark.jobs.cli import names_in, resolved, run_command
from benchmark.jobs.path_arguments import existing_path
from benchmark.jobs.stage_keys import source_key
from benchmark.jobs.terminal import wide_console
from benchmark.ranking.inputs import as_values, places_of, task_node
from benchmark.ranking.switches import check_switches
from benchmark.sources.model import Model
from benchmark.sources.networks.discover import Layer, layers_of
from benchmark.sources.networks.skeleton import skeleton
from benchmark.sources.opening import open_source
from benchmark.sources.readers.mlflow import Artifacts
from benchmark.sources.readers.recognise import recognise
from benchmark.sources.readers.settings_writing import schema_table, write_settings
from benchmark.storage.digest_memory import forgetting


def run(cfg: DictConfig) -> None:
    """Open the source and print what it is, and how it meets the task if one is named.

    Raises:
        InputError: No source is named, or it or the task cannot be read, or its code called `sys.exit`.
    """
    check_switches({name: cfg[name] for name in ("trust", "links")})
    if cfg.schema:
        wide_console().print(schema_table())
        return
    node, console = _node(cfg), wide_console()
    with forgetting():
        with _stopping(node):
            model = open_source(node, instantiate(cfg.tracking), Path(cfg.output_dir))
            tables = [_facts(model, source_key(node)), _layers(layers_of(model), model)]
        console.print(*tables)
        for note in model.notes:
            console.print(Text(f"- {note}"))
        if cfg.write:
            console.print(Text(f"written: {write_settings(model)}"), soft_wrap=True)
        if cfg.given.task:
            with _stopping(node):
                table, verdict = _compatibility(model, cfg)
            console.print(table)
            console.print(Text(verdict), soft_wrap=True)  # one line, whatever the terminal's width


@contextmanager
def _stopping(node: DictConfig) -> Iterator[None]:
    """Report that a source's code calls `sys.exit`; nothing is printed in it, since rich exits at a closed pipe."""
    try:
        yield
    except SystemExit as error:
        raise InputError(f"source {node.name}: its code called sys.exit({error.code!r})") from error


def _compatibility(model: Model, cfg: DictConfig) -> tuple[Table, str]:
    """How a source meets a task, and the verdict in one line."""
    from benchmark.ranking.case_passes import StreamSettings
    from benchmark.ranking.compatibility import RankSettings, compatibility

    target: Task = instantiate(task_node(cfg.given.task, links=cfg.links, overrides=places_of(cfg)))
    stream = {name: value for name, value in resolved(cfg.stream).items() if name != "cases"}
    settings = RankSettings(
        **resolved(cfg.preparation),
        stream=StreamSettings(**stream, device=cfg.device.name, amp=cfg.device.amp),
        metrics={name: instantiate(node) for name, node in cfg.metric.items()},
        split=cfg.split,
    )
    meeting = compatibility(model, target, settings)
    table = Table(title=Text(f"with the task {target.name}"), show_header=False, title_justify="left", pad_edge=False)
    for aspect in meeting.aspects:
        table.add_row(aspect.name, Text(aspect.text))
    return table, meeting.verdict


def _node(cfg: DictConfig) -> DictConfig:
    source: DictConfig | None = cfg.get("source")
    if (cfg.path is None) == (source is None):
        given = "none" if source is None else "both"
        raise InputError(f"inspect: one of path= and source= must be given, got {given}")
    if source is not None:
        return source
    artifacts = Artifacts(cfg.tracking.uri, Path(cfg.output_dir) / "fetched")
    return OmegaConf.create(recognise(cfg.path, trust=cfg.trust, artifacts=artifacts))


def _facts(model: Model, key: str) -> Table:
    table = Table(title=Text(f"source {model.name}"), show_header=False, title_justify="left", pad_edge=False)
    for name, value in _lines(model, key):
        table.add_row(name, Text(value))
    return table


def _lines(model: Model, key: str) -> Iterator[tuple[str, str]]:
    arch = model.arch
    network = skeleton(arch.network, channels=model.channels, classes=model.classes)
    arch.check_names(network)
    parameters = sum(p.numel() for p in network.parameters())
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
    millimetres = " x ".join(f"{mm:g}" for mm in preparation.spacing or ())
    spacing = f"spacing {f'{millimetres} mm' if millimetres else 'as stored'}"
    intensities = _intensities(preparation.normalisation)
    parts = [
        f"{part} not known, the target's are taken" if part in preparation.unknown else text
        for part, text in (("spacing", spacing), ("intensities", intensities))
    ]
    return "; ".join([*parts, *([f"orientation {preparation.orientation}"] if preparation.orientation else [])])


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
        table.add_row(Text(layer.name), str(layer.channels), share, "yes" if layer.name in model.arch.taps else "")
    return table


def _rewritten(arguments: Sequence[str]) -> list[str]:
    """The command line with the task as a plain value, and `source=PATH`, as `rank` has it, as `path=PATH`."""
    named = [
        f"path={value}" if key == "source" and value not in names_in("source") and existing_path(value) else argument
        for argument in arguments
        for key, _, value in [argument.partition("=")]
    ]
    return as_values(named, names=("task",))


def main() -> None:
    """Entry point."""
    run_command("inspect", run, rewrite=_rewritten)


if __name__ == "__main__":
    main()
