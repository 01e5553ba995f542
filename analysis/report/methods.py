"""Notes on methods, read from the docstrings of the modules that implement them."""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

from hydra.utils import get_class

# Subject -> module whose docstring explains it, in reading order.
OWN = {
    "agreement": "analysis.agreement.rank_measures",
    "reliability": "analysis.truth.reliability",
    "ceiling": "analysis.truth.ceiling",
    "intervals": "analysis.agreement.intervals",
    "controls": "analysis.evaluation.controls",
    "critical difference": "analysis.agreement.critical_difference",
    "CC-FV by layer": "analysis.evaluation.layer_parts",
}


@dataclass(frozen=True)
class Block:
    """A paragraph, or a formula that keeps its line breaks.

    Attributes:
        kind: "text" or "formula".
        text: The content.
    """

    kind: Literal["text", "formula"]
    text: str


@dataclass(frozen=True)
class Method:
    """A note read from a module's docstring.

    Attributes:
        name: The metric's name, or the subject.
        title: The first line of the docstring.
        blocks: The rest of the docstring.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]


def metric_notes(metrics: Mapping[str, Mapping[str, Any]]) -> tuple[Method, ...]:
    """The notes of every metric.

    Args:
        metrics: Name -> its settings, with `_target_`.

    Returns:
        One note per metric, from the docstring of the class's module, or of the module in its `definition`.
    """
    return tuple(_note(name, _module(get_class(str(node["_target_"])))) for name, node in metrics.items())


def own_notes() -> tuple[Method, ...]:
    """The notes on agreement, truth and controls."""
    return tuple(_note(name, import_module(module)) for name, module in OWN.items())


def blocks(text: str) -> tuple[Block, ...]:
    r"""Split a docstring into paragraphs; indented lines are formulas.

    Args:
        text: The docstring, its common indentation removed.

    Returns:
        The blocks.

    Example:
        >>> [(block.kind, block.text) for block in blocks("Says\nthis:\n\n    a = b\n\nand that.")]
        [('text', 'Says this:'), ('formula', 'a = b'), ('text', 'and that.')]
    """
    parts: list[Block] = []
    for paragraph in text.split("\n\n"):
        lines = [line for line in paragraph.splitlines() if line.strip()]
        if lines and all(line.startswith("    ") for line in lines):
            parts.append(Block("formula", inspect.cleandoc("\n".join(["", *lines]))))
        elif lines:
            parts.append(Block("text", " ".join(line.strip() for line in lines)))
    return tuple(parts)


def _module(metric: type[Any]) -> ModuleType:
    definition = getattr(metric, "definition", None)
    return definition if isinstance(definition, ModuleType) else sys.modules[metric.__module__]


def _note(name: str, module: ModuleType) -> Method:
    title, _, rest = inspect.cleandoc(module.__doc__ or "").partition("\n\n")
    return Method(name, " ".join(title.split()), blocks(rest))
