"""Where a result comes from: code, packages, machine."""

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
HOMES = ("benchmark", "analysis")  # packages with commands
OF_THE_BENCH = ("progress=", "stop_file=")  # overrides that only serve the bench that launched a job
PACKAGES = ("torch", "monai", "nnunetv2", "hydra-core", "mlflow", "numpy", "scipy", "pandas", "scikit-learn")


@dataclass(frozen=True)
class Provenance:
    """Facts about this process.

    Attributes:
        tags: Short facts to filter runs by.
        details: Package versions, hardware and the process's command.
        diff: What is changed and not committed, as git shows it; empty where nothing is.
    """

    tags: dict[str, str]
    details: dict[str, object]
    diff: str = ""


@cache
def provenance() -> Provenance:
    """Git commit, changes, package versions, machine and command of this process; read once."""
    commit = _git("rev-parse", "HEAD") or "unknown"
    diff = _git("diff", "HEAD")
    dirty = bool(diff)
    return Provenance(
        {"git_commit": commit, "git_dirty": str(dirty).lower(), "host": platform.node()},
        {
            "python": platform.python_version(),
            "packages": {name: found for name in PACKAGES if (found := _version(name))},
            "machine": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "command": shlex.join(sys.argv),
        },
        diff if len(diff) <= LONGEST_DIFF else f"{diff[:LONGEST_DIFF]}\n... cut at {LONGEST_DIFF} characters\n",
    )


def rerun_command() -> str:
    """The command that runs the present Hydra job again, on whichever launcher it runs; empty outside of a job."""
    if not HydraConfig.initialized():
        return ""
    hydra = HydraConfig.get()
    home = next((home for home in HOMES if find_spec(f"{home}.{hydra.job.name}")), HOMES[0])
    overrides = [one for one in hydra.overrides.task if not one.startswith(OF_THE_BENCH)]
    return shlex.join(["python", "-m", f"{home}.{hydra.job.name}", *overrides])


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
