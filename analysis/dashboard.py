"""Refresh the MLflow dashboards and print their addresses; `python -m analysis.dashboard`.

`correlate` and every multirun refresh them, too.
"""

from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from analysis.dashboards.refresh import lines
from benchmark.jobs.cli import entry_point


def run(cfg: DictConfig) -> None:
    """Refresh the dashboards and print their addresses."""
    for line in lines(instantiate(cfg.tracking), cfg.ui):
        Console().print(line, highlight=False, soft_wrap=True)


main = entry_point("dashboard", run)


if __name__ == "__main__":
    main()
