"""What every command shares: Hydra, the embedded config, one line for bad input, torch's threads."""

import errno
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra import compose
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, OverrideParseException
from hydra.types import RunMode
from hydra.utils import get_method
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmark.errors import InputError
from benchmark.jobs.former_names import with_current_names
from benchmark.jobs.time_limit import failing_fast, within

CONF = Path(__file__).resolve().parents[2] / "conf"
BAD_INPUT = 2  # exit code
FINISHED_WITH_FAILURES = 3  # exit code
# the parts of a config that say how, not what
SETTINGS = ("trainer", "stream", "layers", "preparation", "metric")
DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EIO}  # a disk's errors, whose file may not be named

FLAGS = {"--dry-run": "dry_run=true", "--fail-fast": "fail_fast=true", "--retry": "retry="}  # as people type them

log = logging.getLogger(__name__)


def run_command(name: str, task: Callable[[DictConfig], Any], *, limited: bool = True) -> None:
    """Run a command: `conf/<name>.yaml` composed with the command line's overrides goes to `task`.

    Bad input is told in one line on standard error, and the process exits with code 2; a programming error keeps its
    traceback.

    Args:
        name: The root yaml.
        task: The command.
        limited: Whether `time_limit` and `stop_file` hold for it; not for a command that launches jobs.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach this function instead of being shortened
    prepare_config()
    sys.argv[1:] = _overrides(sys.argv[1:])
    try:
        error = _through_hydra(name, partial(run_job, task, limited=limited))
    except Exception as raised:
        error = raised
    if error is None:
        return
    line = told(error)
    if line is None:
        raise error
    sys.stderr.write(f"error: {line}\n")
    sys.exit(BAD_INPUT)


def _overrides(arguments: Sequence[str]) -> list[str]:
    """The command line with our flags written as the overrides that they stand for; `--retry failed` takes a word."""
    found: list[str] = []
    waiting = ""
    for argument in arguments:
        flag, _, value = argument.partition("=")
        written = FLAGS.get(flag, "")
        if waiting or not written:
            found.append(waiting + argument)
            waiting = ""
        elif written.endswith("=") and not value:
            waiting = written
        else:
            found.append(written + value)
    return found + ([waiting] if waiting else [])


def _through_hydra(name: str, run: Callable[[DictConfig], Any]) -> Exception | None:
    """Run the command and return what it raised: passing that on, Hydra would print a line of its own."""
    stopped: list[Exception] = []

    def job(cfg: DictConfig) -> Any:
        try:
            return run(cfg)
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:  # the launcher must know that the job failed
                raise
            return stopped.append(error)

    job.__module__ = name  # Hydra names the job, its folder and its help after the module
    hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")(job)()
    return stopped[0] if stopped else None


def told(error: BaseException) -> str | None:
    """The line that tells a user what to mend; None for a programming error, whose traceback is needed."""
    if isinstance(error, OverrideParseException):
        return f"{error.override} must be an override in Hydra's grammar, got: {one_line(error)}"
    if isinstance(error, InputError | HydraException | OmegaConfBaseException):
        return one_line(error)
    if isinstance(error, OSError) and (error.filename is not None or error.errno in DISK):
        return f"{error.filename or 'a file'} must be readable and writable, got: {error.strerror}"
    return None


def prepare_config() -> None:
    """Make known the resolvers, the default metrics, and that `target=NAME` takes `conf/task/NAME.yaml`."""
    OmegaConf.register_new_resolver("doubling", _doubling, replace=True)
    OmegaConf.register_new_resolver("source_name", _source_name, replace=True)
    store = ConfigStore.instance()
    for path in sorted((CONF / "task").glob("[!_]*.yaml")):
        store.store(group="target", name=path.stem, node={"defaults": [{"/task@_here_": path.stem}, "_self_"]})
    store.store(name="_metrics", node={"defaults": [{"metric": one_pass_metrics()}]})


def one_pass_metrics() -> list[str]:
    """The metrics of conf/metric but those whose yaml says that they need a further pass (`# needs: source`)."""
    files = sorted((CONF / "metric").glob("[!_]*.yaml"))
    return [path.stem for path in files if "\n# needs:" not in path.read_text(encoding="utf-8")]


def composed(root: str, overrides: Sequence[str]) -> DictConfig:
    """The config of a command with overrides, as the command itself would get it."""
    return with_current_names(compose(root, list(overrides)))


def resolved(node: Any) -> Any:
    """A config node as plain Python with every interpolation resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def asked(config: Mapping[str, Any]) -> dict[str, str]:
    """The settings of a job as params, so that jobs of a sweep can be told apart: `stream.overlap`, `trainer.tune`.

    Args:
        config: The resolved parts of the job's config.

    Returns:
        Every setting of the parts that say how, and whatever else of the config the command line set.
    """
    every = {path: str(value) for part, node in config.items() for path, value in _leaves(part, node)}
    given = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    set_here = {override.lstrip("+~").partition("=")[0] for override in given}
    return {path: value for path, value in every.items() if path.partition(".")[0] in SETTINGS or path in set_here}


def _leaves(path: str, node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            if not str(name).startswith("_"):
                yield from _leaves(f"{path}.{name}", value)
    elif "." in path:
        yield path, node


def one_line(error: BaseException) -> str:
    """An error's message in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines) or type(error).__name__


def run_job(task: Callable[[DictConfig], Any], cfg: DictConfig, *, limited: bool = True) -> Any:
    """What every job does, whichever launcher runs it: set torch's threads, run, and log why it stopped.

    Args:
        task: The job.
        cfg: Its config.
        limited: Whether `time_limit` and `stop_file` hold; they are not meant for what launches jobs.
    """
    prepare_config()  # a launcher's worker has not been through run_command
    import torch

    try:
        with_current_names(cfg)
        torch.set_num_threads(_positive(cfg.threads))
        if not limited:
            return task(cfg)
        with failing_fast(Path(cfg.stop_file) if cfg.stop_file else None), within(cfg.time_limit):
            return task(cfg)
    except Exception as error:
        line = told(error)
        log.exception("stopped: %s", line or "a programming error", exc_info=line is None)
        raise


def _positive(threads: object) -> int:
    if not isinstance(threads, int) or threads < 1:
        raise InputError(f"threads must be a positive whole number, got {threads}")
    return threads


def _source_name(path: str) -> str:
    named = get_method("benchmark.sources.readers.recognise.source_name")  # an import would load every reader
    return str(named(path))


def _doubling(first: int, count: int) -> ListConfig:
    return OmegaConf.create([first * 2**index for index in range(count)])  # `--resolve` takes no plain list
