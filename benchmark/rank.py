"""Rank your own checkpoints for your own data; `python -m benchmark.rank task=FOLDER source=FOLDER_OF_CHECKPOINTS`."""

import sys
import time
from io import TextIOWrapper

from omegaconf import DictConfig

from benchmark.jobs.cli import run_command
from benchmark.ranking.inputs import as_values, named
from benchmark.ranking.pool_ranking import UNPRINTABLE, rank_pool
from benchmark.ranking.switches import check_switches


def run(cfg: DictConfig) -> None:
    """Score every source, order them, print and write the ranking."""
    from benchmark.ranking.source_timing import forecast_of

    start = time.monotonic()
    check_switches({name: cfg[name] for name in ("trust", "links")})
    node, given = named(cfg)
    rank_pool(cfg, node, given, timed=forecast_of, arguments=sys.argv[1:], start=start)


def main() -> None:
    """Entry point."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors=UNPRINTABLE)
    run_command("rank", run, rewrite=as_values)


if __name__ == "__main__":
    main()
