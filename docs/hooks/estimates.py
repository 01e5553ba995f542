"""Fills the pages that list every estimate, from conf/metric and the modules of `baselines`.

A page asks for them by a comment: `<!-- estimates: methods -->` or `<!-- estimates: functions -->`.
"""

import re
from importlib import import_module
from pathlib import Path
from types import ModuleType

import yaml
from hydra.utils import instantiate

from benchmark.statistics import ClassMoments, PointSample

ROOT = Path(__file__).parents[2]
COMMENT = re.compile(r"<!-- estimates: (\w+) -->")
OPTIONS = "    options:\n      members: false\n      show_root_heading: false\n      show_root_toc_entry: false\n"
CLASS = "    options:\n      members: false\n"
ENSEMBLES = "Of an ensemble of sources"
GROUPS = (
    "From class statistics, one pass over all voxels",
    "From the source's predictions",
    "From sampled points",
    "With a pass more, or with the source's data",
    ENSEMBLES,
)


def on_page_markdown(markdown: str, **_: object) -> str:
    """MkDocs calls this with the text of every page."""
    return COMMENT.sub(lambda comment: {"methods": methods, "functions": functions}[comment[1]](), markdown)


def modules() -> dict[str, ModuleType]:
    """The modules at the top of `baselines`, one an estimate."""
    names = sorted(path.stem for path in (ROOT / "baselines").glob("[!_]*.py"))
    return {name: import_module(f"baselines.{name}") for name in names}


def methods() -> str:
    """A heading and the module's docstring for each estimate, by what it reads."""
    groups = _groups()
    lines = []
    for group in GROUPS:
        lines.append(f"## {group}\n")
        for name, module in modules().items():
            if groups.get(name, ENSEMBLES) == group:
                title = (module.__doc__ or name).partition(":")[0]
                lines.append(f"### {title}\n\n::: baselines.{name}\n{OPTIONS}")
    return "\n".join(lines)


def functions() -> str:
    """The function of samples of each estimate, and its class, which documents the parameters."""
    lines = []
    for name, module in modules().items():
        own = [member for member, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        lines += [f"::: baselines.{name}.{member}" for member in own if member.endswith("_score") and member[0] != "_"]
        lines += [f"::: baselines.{name}.{member}\n{CLASS}" for member in own if hasattr(vars(module)[member], "name")]
    return "\n".join(lines)


def _groups() -> dict[str, str]:
    """Module -> the group of its metric."""
    groups = {}
    for path in sorted((ROOT / "conf" / "metric").glob("[!_]*.yaml")):
        node = yaml.safe_load(path.read_text(encoding="utf-8"))
        package, _, module = str(node["_target_"]).rpartition(".")[0].rpartition(".")
        if package != "baselines":
            continue
        metric = instantiate(node)
        kinds = {request.kind for request in metric.requires}
        samples = any(issubclass(kind, PointSample) for kind in kinds)
        place = 3 if getattr(metric, "needs", ()) else 0 if kinds == {ClassMoments} else 2 if samples else 1
        groups[module] = GROUPS[place]
    return groups
