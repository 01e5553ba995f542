"""Show what only a GPU can show, within 8 minutes; `make gpu-check`, or `python -m benchmark.gpu_check device=cuda`.

Runs in a source tree without installing it, without a network and without a tracking store. `'~parts.training'` leaves
a part out; sizes and time limits are set in conf/gpu_check.yaml.
"""

import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from benchmark.errors import InputError
from benchmark.jobs.cli import entry_point, resolved
from benchmark.jobs.provenance import provenance
from benchmark.performance.parts import Part, PartResult, counts, run_part, without_nan
from benchmark.storage.files import write_json

FAILED = 1  # exit code
PACKAGES = ("torch", "triton", "numpy", "scipy", "monai")  # whose versions are recorded


def run(cfg: DictConfig) -> None:
    """Run all parts, print and save what they find, and exit with code 1 if anything failed or nothing passed."""
    device, start = cfg.device.name, time.monotonic()
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device is {device}, but torch {torch.__version__} sees no CUDA device")
    parts: dict[str, Part] = {str(name): instantiate(node) for name, node in cfg.parts.items()}
    absent = {name: use for name, use in resolved(cfg.optional).items() if not _is_installed(name)}
    machine, versions = _device(device), _versions()
    facts: dict[str, object] = {"device": machine, "versions": versions, "absent": absent}
    _print(", ".join(f"{name} {value}" for name, value in [*machine.items(), *versions.items()]))
    for name, use in absent.items():
        _print(f"skipped: {name} is absent: {use}")
    folder = Path(cfg.output_dir)
    found: dict[str, Sequence[PartResult]] = {}
    entries: dict[str, object] = {}
    for name, part in parts.items():
        place = _empty(folder / "gpu_check" / name)
        left = cfg.minutes * 60 - (time.monotonic() - start)
        if left <= 0:
            results, seconds = [PartResult("start", "not run", f"no time left of {cfg.minutes:g} minutes")], 0.0
        else:
            results, seconds = run_part(part, device, place, seconds=left)
        found[name] = results
        entries[name] = {"seconds": round(seconds, 1), "counts": counts(results), "results": [vars(r) for r in results]}
        _show(name, results, seconds)
        took = {"seconds": round(time.monotonic() - start, 1), "complete": len(entries) == len(parts)}
        write_json(folder / "gpu.json", without_nan(facts | took | {"parts": entries}))
    _finish([result for results in found.values() for result in results], folder / "gpu.json")


def _finish(results: Sequence[PartResult], path: Path) -> None:
    _print(f"written: {path}; " + ", ".join(f"{count} {status}" for status, count in counts(results).items()))
    failed = [result.name for result in results if result.status == "failed"]
    if failed or not any(result.status == "passed" for result in results):
        sys.stderr.write(f"failed: {', '.join(failed) or 'nothing passed'}\n")
        sys.exit(FAILED)


def _show(name: str, results: Sequence[PartResult], seconds: float) -> None:
    numbers = ", ".join(f"{count} {status}" for status, count in counts(results).items())
    _print(f"{name}: {numbers or 'nothing to check'} in {seconds:.0f} s")
    for result in results:
        words = [f"{result.status:<8} {result.name}", result.reason, _short(result.figures)]
        _print("  " + ": ".join(word for word in words if word))


def _short(figures: Mapping[str, object]) -> str:
    """The figures of a row of the performance table in a few words; of others nothing, gpu.json has them."""
    if "ratio" not in figures:
        return ""
    words = [f"{figures[name]:.3g} {figures['unit']}" for name in ("ours", "reference")]
    details = figures["details"]
    more = [f"{name} {value:.3g}" for name, value in details.items()] if isinstance(details, Mapping) else []
    return ", ".join([f"{words[0]}, reference {words[1]}, ratio {figures['ratio']:.3g}", *more])


def _print(line: str) -> None:
    """Print a line at once; rich, which other commands print with, may be absent here."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _empty(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _is_installed(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:
        return False


def _device(device: str) -> dict[str, object]:
    if not device.startswith("cuda"):
        return {"device": device, "name": provenance().details["processor"] or platform.machine()}
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": device,
        "name": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "driver": _driver(),
    }


def _driver() -> str:
    """Version of the driver; "unknown" where nvidia-smi does not say."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.split()
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return lines[0] if lines else "unknown"


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version(), "cuda": torch.version.cuda or "none"}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "absent"
    return versions | {"revision": provenance().tags["git_commit"], "modified": provenance().tags["git_dirty"]}


main = entry_point("gpu_check", run, limited=False)

if __name__ == "__main__":
    main()
