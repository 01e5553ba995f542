"""Notes on methods, read from the docstrings of the modules that implement them."""

import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

from hydra.utils import get_class

# What a reader needs beside the metrics, in reading order.
OWN = {
    "agreement": "analysis.agreement.rank_measures",
    "reliability": "analysis.truth.reliability",
    "ceiling": "analysis.truth.ceiling",
    "intervals": "analysis.agreement.intervals",
    "controls": "analysis.evaluation.controls",
    "critical difference": "analysis.agreement.critical_difference",
    "CC-FV taken apart": "analysis.evaluation.layer_parts",
}


@dataclass(frozen=True)
class Block:
    """A paragraph, or a formula that keeps its lines.

    Attributes:
        kind: "text" or "formula".
        text: What it says.
    """

    kind: Literal["text", "formula"]
    text: str


@dataclass(frozen=True)
class Method:
    """What one module's docstring says.

    Attributes:
        name: The metric's name, or the subject.
        title: Its first line.
        blocks: The rest.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]


def metric_notes(metrics: Mapping[str, Mapping[str, Any]]) -> tuple[Method, ...]:
    """The notes of every metric.

    Args:
        metrics: Name -> its settings, with `_target_`.

    Returns:
        A note each; the module's docstring is that of the class, or of the class's `definition`.
    """
    return tuple(_note(name, _module(get_class(str(node["_target_"])))) for name, node in metrics.items())


def own_notes() -> tuple[Method, ...]:
    """The notes on what this analysis computes itself."""
    return tuple(_note(name, import_module(module)) for name, module in OWN.items())


def blocks(text: str) -> tuple[Block, ...]:
    r"""A docstring's paragraphs; indented lines are formulas.

    Args:
        text: The docstring, its common indentation removed.

    Returns:
        The blocks.

    Example:
        >>> [(block.kind, block.text) for block in blocks("Says\nthis:\n\n    a = b\n\nand that.")]
        [('text', 'Says this:'), ('formula', 'a = b'), ('text', 'and that.')]
    """
    found: list[Block] = []
    for paragraph in text.split("\n\n"):
        lines = [line for line in paragraph.splitlines() if line.strip()]
        if lines and all(line.startswith("    ") for line in lines):
            found.append(Block("formula", inspect.cleandoc("\n".join(["", *lines]))))
        elif lines:
            found.append(Block("text", " ".join(line.strip() for line in lines)))
    return tuple(found)


def _module(found: type[Any]) -> ModuleType:
    definition = getattr(found, "definition", None)
    return definition if isinstance(definition, ModuleType) else sys.modules[found.__module__]


def _note(name: str, module: ModuleType) -> Method:
    title, _, rest = inspect.cleandoc(module.__doc__ or "").partition("\n\n")
    return Method(name, " ".join(title.split()), blocks(rest))
