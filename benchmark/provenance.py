"""Where a result comes from: code, packages, machine."""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "monai", "nnunetv2", "hydra-core", "mlflow", "numpy", "scipy", "pandas", "scikit-learn")


@dataclass(frozen=True)
class Provenance:
    """Facts about this process.

    Attributes:
        tags: Short facts to filter runs by.
        details: Package versions, hardware and the command.
    """

    tags: dict[str, str]
    details: dict[str, object]


@cache
def provenance() -> Provenance:
    """Git commit, package versions, machine and command of this process; read once."""
    commit = _git("rev-parse", "HEAD") or "unknown"
    dirty = bool(_git("status", "--porcelain", "--untracked-files=no"))
    return Provenance(
        {"git_commit": commit, "git_dirty": str(dirty).lower(), "host": platform.node()},
        {
            "python": platform.python_version(),
            "packages": {name: found for name in PACKAGES if (found := _version(name))},
            "machine": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "command": " ".join(sys.argv),
        },
    )


def _git(*arguments: str) -> str:
    root = Path(__file__).resolve().parents[1]
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
