"""Shared command line: runs a command through Hydra and reports bad input in one line."""

import errno
import logging
import multiprocessing
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra import compose
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from benchmark.errors import INTERRUPTED, InputError, check_whole, one_line
from benchmark.jobs.former_names import with_current_names
from benchmark.jobs.interrupts import interruptible, no_interrupt_dropped
from benchmark.jobs.path_arguments import exists, with_paths_quoted
from benchmark.jobs.shared_choices import share_choices
from benchmark.jobs.suite_settings import repeated_of
from benchmark.jobs.time_limit import failing_fast, within
from benchmark.storage.digest_memory import remembering
from benchmark.storage.prepared_settings import PreparedSettings, storing_prepared

CONF = Path(__file__).resolve().parents[2] / "conf"
BAD_INPUT = 2  # exit code
FINISHED_WITH_FAILURES = 3  # exit code
# the parts of a config that hold settings of the method, not the data
SETTINGS = ("trainer", "stream", "layers", "preparation", "metric")
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}  # disk errors, which may name no file

CHOICES = {"task": "/task@task", "arch": "override /arch@arch"}  # settings of such a source that name a yaml
DIGESTS = "digests.sqlite"  # file of remembered digests in `output_dir`, shared by the jobs of a sweep
PREPARED, NNUNET = "prepared", "nnunet"  # folders of prepared cases in `output_dir`
# flag -> Hydra override
FLAGS = {"--dry-run": "dry_run=true", "--fail-fast": "fail_fast=true", "--retry": "retry=", "--clean": "clean=0",
         "--schema": "schema=true"}  # fmt: skip

# group of configs -> the settings of a command that takes one of its names, for a path
BY_PATH = {
    "source": "source=file, nnunet, bundle or state_dict, and source.path",
    "target": "target=msd or nnunet, and target.folder",
    "task": "task=msd or nnunet, and task.folder",
}
GROUPS = {"target": "task"}  # group whose configs are those of another one

READ = "_read"  # name under which Hydra's store keeps which yamls its other entries come from
Rewrite = Callable[[Sequence[str]], list[str]]  # of a command line

log = logging.getLogger(__name__)


def run_command(
    name: str, task: Callable[[DictConfig], object], *, limited: bool = True, rewrite: Rewrite | None = None
) -> None:
    """Compose `conf/<name>.yaml` with the overrides of the command line and call `task` with it.

    Bad input prints one line on standard error and exits with code 2, as does Ctrl-C with code 130; a programming error
    keeps its traceback.

    Args:
        name: Name of the root config.
        task: The command.
        limited: Whether `time_limit` and `stop_file` apply; False for a command that launches jobs.
        rewrite: Replaces arguments that mean something else in this command than in Hydra.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach this function instead of being shortened
    logging.raiseExceptions = False  # a log that cannot be written, as on a full disk, adds no traceback to the error
    try:
        arguments = _overrides(sys.argv[1:])
        sys.argv[1:] = with_paths_quoted(rewrite(arguments) if rewrite else arguments)
        config_dir = _config_dir(sys.argv[1:])
        _check_choices(sys.argv[1:], config_dir)
        prepare_config(config_dir)
        with no_interrupt_dropped():
            error = _through_hydra(name, partial(run_job, task, limited=limited))
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what is finished is kept, run again to resume\n")
        sys.exit(INTERRUPTED)
    except Exception as raised:
        error = raised
    if error is None:
        return
    line = message_of(error)
    if line is None:
        raise error
    sys.stderr.write(f"error: {line}\n")
    sys.exit(BAD_INPUT)


def entry_point(
    name: str, task: Callable[[DictConfig], object], *, limited: bool = True, rewrite: Rewrite | None = None
) -> Callable[[], None]:
    """The `main` of a command's module; arguments as in `run_command`."""
    return partial(run_command, name, task, limited=limited, rewrite=rewrite)


def _overrides(arguments: Sequence[str]) -> list[str]:
    """Replace our flags by Hydra overrides; the value of `--retry` may be the next argument."""
    overrides: list[str] = []
    pending = ""
    for argument in arguments:
        flag, _, value = argument.partition("=")
        override = FLAGS.get(flag, "")
        if pending or not override:
            overrides.append(pending + argument)
            pending = ""
        elif override.endswith("=") and not value:
            pending = override
        else:
            overrides.append(override + value)
    return overrides + ([pending] if pending else [])


def _config_dir(arguments: Sequence[str]) -> Path:
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", default=CONF)  # Hydra's flag for a folder of the user's own configs
    return Path(parser.parse_known_args(arguments)[0].config_dir).resolve()


def _check_choices(arguments: Sequence[str], config_dir: Path) -> None:
    """Refuse null, a number or a path as the choice from a group of configs, which Hydra reports in its own words."""
    for argument in arguments:
        group = argument.lstrip("+").partition("=")[0].partition("@")[0]
        groups = [folder / group for folder in (CONF, config_dir) if (folder / group).is_dir()]
        if not group or not (groups or group in BY_PATH):
            continue
        with suppress(HydraException):  # a value that is not in Hydra's grammar is reported by Hydra
            choice = OverridesParser.create().parse_override(argument).value()
            must = f"{group} must be the name of a config in conf/{GROUPS.get(group, group)}"
            if choice is None or isinstance(choice, int | float):
                raise InputError(f"{must}, got {argument.partition('=')[2]}")
            if group in BY_PATH and _is_path(choice, groups):
                raise InputError(f"{must}, got the path {choice}; to use a path, set {BY_PATH[group]}")


def _is_path(choice: object, groups: Sequence[Path]) -> bool:
    if not isinstance(choice, str) or any((folder / f"{choice}.yaml").is_file() for folder in groups):
        return False
    return choice.startswith("/") or ("/" in choice and exists(choice))


def _through_hydra(name: str, run: Callable[[DictConfig], object]) -> Exception | None:
    """Run the command and return its exception, which Hydra would otherwise report in its own words."""
    errors: list[Exception] = []

    def job(cfg: DictConfig) -> Any:
        try:
            return run(cfg)
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:  # the launcher must know that the job failed
                raise
            return errors.append(error)

    job.__module__ = name  # Hydra takes the name of the job, its folder and its help from the module
    hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")(job)()
    return errors[0] if errors else None


def message_of(error: BaseException) -> str | None:
    """One line that explains bad input to the user; None for a programming error, which needs its traceback."""
    if isinstance(error, OverrideParseException):
        return f"{error.override} must be an override in Hydra's grammar, got: {one_line(error, longest=None)}"
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, InputError):
        error = error.__cause__  # without the name of the class
    if isinstance(error, InputError | HydraException | OmegaConfBaseException | YAMLError):
        return one_line(error, longest=None)
    if isinstance(error, OSError) and (error.filename is not None or error.errno in DISK):
        return f"cannot read or write {error.filename or 'a file'}: {error.strerror}"
    return None


def prepare_config(config_dir: Path = CONF) -> None:
    """Register the resolvers and the choices that no yaml of their own defines.

    These are the default metrics, the tasks as choices of `target`, and the pre-trained sources of all suites. They are
    read anew only if a yaml that they come from has changed.

    Args:
        config_dir: A folder of the user's own configs, in addition to conf.

    Raises:
        InputError: Two sources have the same name, or a source's entry is not a mapping.
    """
    _register_resolvers()
    store = ConfigStore.instance()
    yamls = [path for group in ("task", "source", "suite", "metric") for path in _yamls(group, config_dir)]
    state = [[str(path), path.stat().st_mtime_ns] for path in yamls]
    if (kept := store.repo.get(f"{READ}.yaml")) is not None and kept.node["yamls"] == state:
        return
    for path in _yamls("task", config_dir):
        store.store(group="target", name=path.stem, node={"defaults": [{"/task@_here_": path.stem}, "_self_"]})
    for name, settings in suite_sources(config_dir).items():
        store.store(group="source", name=name, node=_source_node(name, settings))
    store.store(name="_metrics", node={"defaults": [{"metric": default_metrics()}]})
    store.store(name=READ, node={"yamls": state})
    share_choices()


def names_in(group: str) -> list[str]:
    """Names that a command can choose from a group of conf/, including the sources of the suites."""
    registered = ConfigStore.instance().repo.get(group, ())
    return sorted({path.stem for path in _yamls(group)} | {Path(name).stem for name in registered})


def _yamls(group: str, config_dir: Path = CONF) -> list[Path]:
    folders = dict.fromkeys([CONF, config_dir])
    return [path for folder in folders for path in sorted((folder / group).glob("[!_]*.yaml"))]


def suite_sources(config_dir: Path = CONF) -> dict[str, dict[str, object]]:
    """Source -> its settings in a suite; an entry without settings names a source that is defined elsewhere.

    A source that a suite pre-trains again (`repeated`) has an entry for each further seed.
    """
    homes = {path.stem: path for path in _yamls("source", config_dir)}
    sources: dict[str, dict[str, object]] = {}
    repeats: dict[str, tuple[Path, tuple[str, int]]] = {}
    for path in _yamls("suite", config_dir):
        suite: Any = OmegaConf.to_container(OmegaConf.load(path))
        if not isinstance(suite, dict):
            raise InputError(f"{path}: a suite must be a mapping, got {suite!r}")
        entries = suite.get("pretrained") or {}
        if not isinstance(entries, dict):
            raise InputError(f"{path}: pretrained must map names to settings, got {entries!r}")
        for name, settings in entries.items():
            if settings is None:
                continue
            if not isinstance(settings, dict):
                raise InputError(f"{path}: the settings of source {name} must be a mapping, got {settings!r}")
            if name in homes:
                raise InputError(f"{path}: source {name} is already defined in {homes[name]}; "
                                 "choose another name, or set it to null to use that source")  # fmt: skip
            homes[name], sources[name] = path, settings
        repeated = repeated_of(suite.get("repeated"), f"{path}: repeated")
        repeats |= {repeat: (path, of) for repeat, of in repeated.repeats.items()} if repeated else {}
    for repeat, (path, (name, seed)) in repeats.items():
        if repeat in homes:
            raise InputError(f"{path}: source {repeat} is already defined in {homes[repeat]}; "
                             f"choose another seed of {name} in `repeated`")  # fmt: skip
        sources[repeat] = {**sources.get(name, {"base": name}), "seed": seed}
    return sources


def _source_node(name: str, settings: Mapping[str, object]) -> dict[str, object]:
    """The config of a source, like a yaml in conf/source that is based on `base`."""
    node: dict[str, object] = {"name": name, "base": "_pool", **settings}
    base, choices = node.pop("base"), [{key: node.pop(part)} for part, key in CHOICES.items() if part in node]
    if "width" in node:
        node["arch"] = {"width": node.pop("width")}
    return {"defaults": [base, *choices, "_self_"], **node}


def default_metrics() -> list[str]:
    """Names of the metrics in conf/metric that are computed unless others are chosen.

    Those that need an extra pass (`# needs: source` in the yaml) or much memory (`# optional: why`) are left out.
    """
    texts = {path.stem: path.read_text(encoding="utf-8") for path in _yamls("metric")}
    return [name for name, text in texts.items() if not any(f"\n# {mark}:" in text for mark in ("needs", "optional"))]


def composed(root: str, overrides: Sequence[str]) -> DictConfig:
    """Compose the config of a command with overrides, as its command line does."""
    return with_current_names(compose(root, list(overrides)))


def resolved(node: object) -> Any:
    """Convert a config node to plain Python, with interpolations resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def settings_of(config: Mapping[str, object]) -> dict[str, str]:
    """The settings of a job as params of its run, which distinguish the jobs of a sweep.

    Returns:
        Dotted name (`stream.overlap`, `trainer.tune`) -> value, for the parts in SETTINGS and for every setting that
        was given on the command line.
    """
    every = {path: str(value) for part, node in config.items() for path, value in _leaves(part, node)}
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    given = {override.lstrip("+~").partition("=")[0] for override in overrides}
    return {path: value for path, value in every.items() if path.partition(".")[0] in SETTINGS or path in given}


def _leaves(path: str, node: object) -> Iterator[tuple[str, object]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            if not str(name).startswith("_"):
                yield from _leaves(f"{path}.{name}", value)
    elif "." in path:
        yield path, node


def run_job(task: Callable[[DictConfig], object], cfg: DictConfig, *, limited: bool = True) -> object:
    """Run a job under any launcher: set torch's threads, apply the limits, remember digests, log a failure's reason."""
    import torch

    _register_resolvers()  # a launcher's worker does not call run_command
    _use_standard_processes()

    try:
        with_current_names(cfg)
        check_whole("threads", cfg.threads, least=1)
        torch.set_num_threads(cfg.threads)
        with (
            interruptible(),
            remembering(Path(cfg.output_dir) / DIGESTS, one_job=limited),
            storing_prepared(_prepared_settings(cfg)),
        ):
            if not limited:
                return task(cfg)
            with failing_fast(Path(cfg.stop_file) if cfg.stop_file else None), within(cfg.time_limit):
                return task(cfg)
    except Exception as error:
        line = message_of(error)
        with nullcontext() if _has_launcher() else _only_in_files():  # `run_command` prints the error of a single job
            log.exception("stopped: %s", line or "a programming error", exc_info=line is None)
        raise


def _has_launcher() -> bool:
    return not HydraConfig.initialized() or HydraConfig.get().mode == RunMode.MULTIRUN


@contextmanager
def _only_in_files() -> Iterator[None]:
    """Keep log lines of the block off the terminal."""
    consoles = [handler for handler in logging.getLogger().handlers if type(handler) is logging.StreamHandler]
    for handler in consoles:
        handler.addFilter(_nothing)
    try:
        yield
    finally:
        for handler in consoles:
            handler.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


def _prepared_settings(cfg: DictConfig) -> PreparedSettings:
    output = Path(cfg.output_dir).absolute()  # a network's code may change the working directory
    values = resolved(cfg.get("data")) or {}
    if not isinstance(values, dict) or set(values) - {"keep_gib", "processes", "workers"}:
        raise InputError(f"data must have the settings keep_gib, processes and workers, got {values}")
    return PreparedSettings(output / PREPARED, **values, copies=(output / NNUNET,))


def _use_standard_processes() -> None:
    """Start processes as outside joblib's workers, whose start method fails in the processes that nnU-Net starts."""
    if multiprocessing.get_start_method(allow_none=True) not in {None, *multiprocessing.get_all_start_methods()}:
        multiprocessing.set_start_method(None, force=True)


def _register_resolvers() -> None:
    OmegaConf.register_new_resolver("doubling", _doubling, replace=True)
    OmegaConf.register_new_resolver("source_name", _source_name, replace=True)
    OmegaConf.register_new_resolver("epochs", _epochs, replace=True)
    OmegaConf.register_new_resolver("training_steps", _steps, replace=True)
    OmegaConf.register_new_resolver("pool_sizes", _pool_sizes, replace=True)
    OmegaConf.register_new_resolver("join", lambda parts: ", ".join(map(str, parts)), replace=True)


def _source_name(path: str) -> str:
    # a top-level import would load torch
    return str(get_method("benchmark.sources.readers.candidates.source_name")(path))


def _epochs(steps: int, iterations: int) -> float:
    if not isinstance(iterations, int) or iterations < 1:
        return 0  # refused where it is used, which not every trainer does
    return steps // iterations if steps % iterations == 0 else steps / iterations


def _steps(budget: Mapping[str, int]) -> int:
    return budget["steps"] if "steps" in budget else budget["epochs"] * budget["iterations"]


def _pool_sizes(targets: Sequence[str], sources: Sequence[str], pretrained: Mapping[str, Any]) -> ListConfig:
    """The numbers of sources of a target, which are not pre-trained on it, smallest first."""
    tasks = [(pretrained.get(source) or {}).get("task") for source in sources]
    return OmegaConf.create(sorted({sum(task != target for task in tasks) for target in targets}))


def _doubling(first: int, count: int) -> ListConfig:
    return OmegaConf.create([first * 2**index for index in range(count)])  # `--resolve` does not accept a plain list
