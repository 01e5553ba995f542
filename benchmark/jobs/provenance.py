"""Provenance of a result: git commit, package versions, machine, command."""

import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from hydra.core.hydra_config import HydraConfig

LONGEST_DIFF = 1_000_000  # characters
COMMAND_PACKAGES = ("benchmark", "analysis")
BENCH_ONLY = ("progress=", "stop_file=")  # overrides that only matter to the bench that launched the job
PACKAGES = ("torch", "monai", "nnunetv2", "hydra-core", "mlflow", "numpy", "scipy", "pandas", "scikit-learn")


@dataclass(frozen=True)
class Provenance:
    """Provenance of this process: facts to filter runs by, versions, hardware and command, and uncommitted changes."""

    tags: dict[str, str]
    details: dict[str, object]
    diff: str = ""


@cache
def provenance() -> Provenance:
    """Collect git commit, uncommitted changes, package versions, machine and command; cached."""
    commit = _git("rev-parse", "HEAD") or "unknown"
    diff = _git("diff", "HEAD")
    return Provenance(
        {"git_commit": commit, "git_dirty": str(bool(diff)).lower(), "host": platform.node()},
        {
            "python": platform.python_version(),
            "packages": {name: number for name in PACKAGES if (number := _version(name))},
            "machine": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "command": shlex.join(sys.argv),
        },
        diff if len(diff) <= LONGEST_DIFF else f"{diff[:LONGEST_DIFF]}\n... cut at {LONGEST_DIFF} characters\n",
    )


def rerun_command() -> str:
    """The command that runs the current Hydra job again without a launcher; empty outside a job."""
    if not HydraConfig.initialized():
        return ""
    hydra = HydraConfig.get()
    packages = (name for name in COMMAND_PACKAGES if find_spec(f"{name}.{hydra.job.name}"))
    overrides = [override for override in hydra.overrides.task if not override.startswith(BENCH_ONLY)]
    return shlex.join(["python", "-m", f"{next(packages, COMMAND_PACKAGES[0])}.{hydra.job.name}", *overrides])


def _git(*arguments: str) -> str:
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return ""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
