"""Pair a source with a target: choose the preparation of the volumes and adapt the input channels."""

from dataclasses import dataclass, replace

from benchmark.data.preprocessing.preparation import Preparation, follow
from benchmark.data.tasks.task import Task
from benchmark.sources.model import Model
from benchmark.sources.weights.channels import adapted


@dataclass(frozen=True)
class Pair:
    """A source prepared for a target.

    Attributes:
        model: The source, adapted to the target's channels if necessary; its notes list the changes.
        preparation: How the target's volumes become its input.
    """

    model: Model
    preparation: Preparation


def paired(model: Model, target: Task, *, intensities: str, spacing: str) -> Pair:
    """Pair a source with a target.

    Args:
        model: The source.
        target: The target.
        intensities: Whose plan decides on intensities, "source" or "target".
        spacing: Whose plan decides on spacing, crop and axes, "source" or "target".

    Raises:
        SkipPair: They cannot be paired.
    """
    preparation = follow(model.preparation, target.preparation, intensities=intensities, spacing=spacing)
    if model.arch.dims == 2 and preparation.transpose is None:
        preparation = replace(preparation, transpose=(0, 1, 2))  # slices are taken along the first axis
    flat = model.arch.dims == 3 and target.cases("train", preparation)[0].labels.shape[0] == 1
    model = adapted(model, channels=target.channels, flat=flat)
    return Pair(replace(model, notes=(*model.notes, *_differences(model, preparation))), preparation)


def _differences(model: Model, preparation: Preparation) -> list[str]:
    """Notes on how the target's preparation differs from that of the source's own data."""
    own = model.preparation
    notes: list[str] = []
    if own is None:
        return notes
    if own.spacing and own.spacing != preparation.spacing:
        seen = _millimetres(preparation.spacing) if preparation.spacing else "as stored"
        notes.append(f"trained at {_millimetres(own.spacing)}, sees the target {seen}")
    if own.normalisation != preparation.normalisation:
        notes.append("intensities by the target's plan, not its own")
    return notes


def _millimetres(spacing: tuple[float, ...]) -> str:
    return " x ".join(f"{mm:g}" for mm in spacing) + " mm"
