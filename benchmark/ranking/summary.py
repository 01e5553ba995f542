"""What a ranking tells beside the order: reasons, what was adapted or skipped, where it ran, what it cost and saved."""

import platform
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import pandas as pd
import torch

from benchmark.jobs.provenance import provenance
from benchmark.ranking.cost import FineTuningWork
from benchmark.ranking.estimates import SourceOutcome
from benchmark.ranking.ranker import Ranker
from benchmark.training.trainer import Trainer


def account_of(
    ranker: Ranker, outcomes: Sequence[SourceOutcome], left: Mapping[str, str], *, trainer: Trainer, seeds: int
) -> dict[str, Any]:
    """The fields of `analysis.ranking.tables.Account`.

    Args:
        ranker: What all sources share.
        outcomes: Of all sources.
        left: What lay among the sources and is none -> why.
        trainer: Whose budget the cost of fine-tuning is estimated for.
        seeds: Runs a source.
    """
    tuning = fine_tuning_of(trainer, seeds=seeds)
    scored = [outcome for outcome in outcomes if outcome.estimates]
    return {
        "task": ranker.target.name,
        "costs": pd.DataFrame([_cost(outcome, tuning) for outcome in scored]),
        "reasons": {
            (outcome.name, name): told
            for outcome in scored
            for name, one in outcome.estimates.items()
            if (told := "; ".join(part for part in (one.reason, _without_draws(one.no_draws)) if part))
        },
        "notes": {outcome.name: list(outcome.notes) for outcome in scored if outcome.notes},
        "skipped": {outcome.name: outcome.skipped for outcome in outcomes if outcome.skipped} | dict(left),
        "where": where(ranker.stream.device),
        "fine_tuning": tuning_told(tuning, trainer),
        "resampling": resampling_told(ranker),
    }


def fine_tuning_of(trainer: Trainer, *, seeds: int) -> FineTuningWork:
    """The work of a trainer's budget.

    Args:
        trainer: With a budget of optimiser steps, or of epochs times iterations.
        seeds: Runs a source.
    """
    budget: Any = getattr(trainer, "budget", None)
    steps = budget.epochs * budget.iterations if hasattr(budget, "iterations") else trainer.steps
    batch, patch = getattr(budget, "batch", None) or 2, getattr(budget, "patch", None)
    return FineTuningWork(steps, prod(patch) * batch if patch else 0, batch, seeds)


def tuning_told(tuning: FineTuningWork, trainer: Trainer) -> str:
    """What the estimated cost of fine-tuning is for."""
    patch = getattr(getattr(trainer, "budget", None), "patch", None)
    size = f"patches of {'x'.join(map(str, patch))}" if patch else "windows of the source's own size"
    return (
        f"fine-tuning is an estimate, no measurement: one training step was timed for each source, and multiplied "
        f"by {tuning.steps} steps of {tuning.batch} {size} and {tuning.seeds} seeds (`trainer`, `fine_tuning_seeds`); "
        f"reading data and validation are not in it"
    )


def resampling_told(ranker: Ranker) -> str:
    """How intervals were made."""
    counts = ranker.resamples.counts
    if ranker.resamples.kind == "none":
        return "no intervals: they need two cases at least"
    if ranker.resamples.kind == "leave-one-out":
        return f"[ ]: range of the score and the {len(counts)} that leave one case out; too few cases for a bootstrap"
    points = min(ranker.most_point_draws, len(counts))
    return (
        f"[ ]: 95% bootstrap intervals over cases, {len(counts)} resamples ({points} for metrics that read sampled "
        f"points, and for the standing)"
    )


def where(device: str) -> str:
    """The machine that ran it, in words."""
    details = provenance().details
    runs = torch.cuda.get_device_name(0) if device.startswith("cuda") else f"{details['processor']}"
    return (
        f"ran on {device} ({runs}, {torch.get_num_threads()} threads, torch {torch.__version__}) of {platform.node()}"
    )


def _without_draws(why: str) -> str:
    return f"no interval: {why}" if why else ""


def _cost(outcome: SourceOutcome, tuning: FineTuningWork) -> dict[str, Any]:
    facts = outcome.facts
    return {
        "source": outcome.name,
        "architecture": facts["architecture"],
        "parameters": facts["parameters"],
        "window": "x".join(map(str, facts["window"])),
        "seconds": facts["seconds"],
        "peak_memory_mb": facts["peak_memory_mb"],
        "fine_tuning_seconds": tuning.seconds(facts["step_seconds"], facts["window"]),
        "fine_tuning_reason": facts["step_reason"],
    }
