"""Measure performance relative to plain references; `python -m benchmark.perf`, or `make perf`.

`'~rows.w2_pairs'` skips a row and `growth=null` the curves; sizes and bounds are set in conf/perf.yaml.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich import box
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmark.jobs.cli import entry_point, resolved
from benchmark.jobs.keys import job_key, targets
from benchmark.performance.measurement import Measurement, PerfRow
from benchmark.performance.scaling import Cost, Growth, growth_figure
from benchmark.storage.files import write_json
from benchmark.tracking import Store

FELL_SHORT = 1  # exit code


def run(cfg: DictConfig) -> None:
    """Measure all rows, show and save the table, and exit with code 1 if a row misses its bound or a check."""
    console = Console()
    with threadpool_limits(limits=cfg.threads):  # as many threads for numpy and scipy as for torch
        measured = _measure_rows(cfg, console)
        folder = Path(cfg.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        written = [folder / "perf.json"]
        write_json(written[0], [row.entry(name) for name, row in measured.items()])
        console.print(_table(measured))
        if cfg.growth is not None:
            written += _measure_growth(cfg, console, folder)
    _track(cfg, measured, written)
    console.print(f"written: {', '.join(map(str, written))}")
    short = [name for name, row in measured.items() if not row.holds]
    if short:
        sys.stderr.write(f"fell short: {', '.join(short)}\n")
        sys.exit(FELL_SHORT)


def _measure_rows(cfg: DictConfig, console: Console) -> dict[str, Measurement]:
    measured: dict[str, Measurement] = {}
    for name, node in cfg.rows.items():
        row: PerfRow = instantiate(node)
        with console.status(f"measuring {name}"):
            measured[str(name)] = row.measure(cfg.device.name)
        console.print(f"{name}: {measured[str(name)].ratio:.3g}")
    return measured


def _measure_growth(cfg: DictConfig, console: Console, folder: Path) -> list[Path]:
    growth: Growth = instantiate(cfg.growth)
    with console.status("measuring growth"):
        costs: Sequence[Cost] = growth.measure(cfg.device.name)
    written = [folder / "perf_growth.json", folder / "perf_growth.png"]
    write_json(written[0], [cost.entry() for cost in costs])
    growth_figure(costs).savefig(written[1], dpi=150)
    return written


def _table(measured: Mapping[str, Measurement]) -> Table:
    table = Table(title="Performance", title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column in ("row", "ours", "reference", "ratio", "bound", "errors", "holds"):
        table.add_column(column, justify="left" if column in ("row", "errors") else "right")
    for name, row in measured.items():
        checks = [f"{key} {check.error:.1e} (at most {check.tolerance:.0e})" for key, check in row.checks.items()]
        sides = (f"{value:.3g} {row.unit}" for value in (row.ours, row.reference))
        holds = "yes" if row.holds else "NO"
        table.add_row(name, *sides, f"{row.ratio:.3g}", row.requirement, "\n".join(checks), holds)
    return table


def _track(cfg: DictConfig, measured: Mapping[str, Measurement], written: Sequence[Path]) -> None:
    """Record one run in the store; measurements are never skipped."""
    store: Store = instantiate(cfg.tracking)
    config: dict[str, object] = {part: resolved(cfg[part]) for part in ("rows", "growth", "threads")}
    key = job_key("perf", "benchmark.perf", config, code=targets(config))
    params = {"device": cfg.device.name, "threads": cfg.threads, "rows": ",".join(measured)}
    with store.run("perf", key, "perf", params=params, config=config, suite=cfg.suite.name) as tracked:
        for name, row in measured.items():
            values = {"ours": row.ours, "reference": row.reference, "ratio": row.ratio, "bound": row.bound}
            errors = {f"error/{key}": check.error for key, check in row.checks.items()}
            figures = values | errors | {"holds": float(row.holds), **row.details}
            tracked.log(metrics={f"{name}/{figure}": value for figure, value in figures.items()})
        tracked.log(tags={"holds": str(all(row.holds for row in measured.values())).lower()})
        for path in written:
            tracked.file(path)


main = entry_point("perf", run)

if __name__ == "__main__":
    main()
