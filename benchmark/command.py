"""What every command shares: Hydra, the embedded config, one line for bad input, torch's threads."""

import logging
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from benchmark.errors import InputError

CONF = Path(__file__).resolve().parents[1] / "conf"
BAD_INPUT = 2  # exit code
FINISHED_WITH_FAILURES = 3  # exit code

log = logging.getLogger(__name__)


def run_command(name: str, task: Callable[[DictConfig], Any]) -> Any:
    """Run a command: `conf/<name>.yaml` composed with the command line's overrides goes to `task`.

    Bad input is told in one line on standard error, and the process exits with code 2; a programming error keeps its
    traceback.

    Args:
        name: The root yaml.
        task: The command.
    """
    os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach this function instead of being shortened
    prepare_config()
    try:
        return hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")(partial(_run, task))()
    except (InputError, HydraException, OmegaConfBaseException) as error:
        sys.stderr.write(f"error: {one_line(error)}\n")
        sys.exit(BAD_INPUT)
    except OSError as error:
        sys.stderr.write(f"error: {error.filename or 'a file'} must be readable and writable, got: {error.strerror}\n")
        sys.exit(BAD_INPUT)


def prepare_config() -> None:
    """Make the resolvers and the group `target` known; `target=NAME` takes `conf/task/NAME.yaml`."""
    OmegaConf.register_new_resolver("doubling", _doubling, replace=True)
    store = ConfigStore.instance()
    for path in sorted((CONF / "task").glob("[!_]*.yaml")):
        store.store(group="target", name=path.stem, node={"defaults": [{"/task@_here_": path.stem}, "_self_"]})


def resolved(node: Any) -> Any:
    """A config node as plain Python with every interpolation resolved."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def one_line(error: BaseException) -> str:
    """An error's message in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "; ".join(lines) or type(error).__name__


def _run(task: Callable[[DictConfig], Any], cfg: DictConfig) -> Any:
    prepare_config()  # a launcher's worker has not been through run_command
    import torch

    torch.set_num_threads(cfg.threads)
    try:
        return task(cfg)
    except Exception:
        log.exception("job failed")
        raise


def _doubling(first: int, count: int) -> list[int]:
    return [first * 2**index for index in range(count)]
