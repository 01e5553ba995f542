"""The house rules that a reader of one file cannot see: import arrows, sizes, names, prints.

Each rule is a function from a tree on disk to a list of offences, so that it is also shown to fail, on a small tree of
offenders. The arrows: data, sources -> features -> core, statistics -> metric, ccfv, baselines -> records -> analysis.
"""

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("benchmark", "baselines", "analysis")
MAX_FILE_LINES = 400
MAX_CHAIN = 13  # modules, from one that nobody imports down to one that imports nobody
MAX_FUNCTION_LINES = 60
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "manager", "managers", "common", "misc"}

# Stage -> the stages it may import beside itself. Data flows along DESIGN's arrows; a stage knows those that come
# before it, never those that come after. Two exceptions: `core` is a library of pure operations that knows nobody, so
# that `features` may gather with it, and `data` knows its value of an ignored label; `features` feeds the accumulators
# of `statistics`, so it knows them, and they know its windows by shape alone. `jobs` and `tracking` serve every stage.
ARROWS = {
    "benchmark.ranking.default_metrics": set(),  # names alone, and
    "benchmark.racing.halving": set(),  # the decisions of a race: `analysis` replays races with both
    "benchmark.core": set(),
    "benchmark.statistics": {"benchmark.core"},
    "benchmark.metric": {"benchmark.core", "benchmark.statistics"},
    "benchmark.jobs": {"benchmark.metric"},
    "benchmark.tracking": {"benchmark.metric", "benchmark.jobs"},
    "benchmark.data": {"benchmark.core", "benchmark.jobs"},
    "benchmark.sources": {"benchmark.data", "benchmark.jobs", "benchmark.tracking"},
    "benchmark.features": {"benchmark.data", "benchmark.sources", "benchmark.core", "benchmark.statistics"},
    "benchmark.ccfv": {"benchmark.core", "benchmark.statistics", "benchmark.metric"},
    "benchmark.training": {
        "benchmark.data",
        "benchmark.sources",
        "benchmark.core",
        "benchmark.features",
        "benchmark.jobs",
    },
    "benchmark.scoring": {
        "benchmark.data",
        "benchmark.sources",
        "benchmark.features",
        "benchmark.statistics",
        "benchmark.metric",
        "benchmark.jobs",
        "benchmark.tracking",
    },
    "benchmark.performance": {
        "benchmark.data",
        "benchmark.sources",
        "benchmark.core",
        "benchmark.statistics",
        "benchmark.features",
        "benchmark.metric",
        "benchmark.jobs",
        "benchmark.training",
    },
    "benchmark.orchestration": {"benchmark.data", "benchmark.jobs", "benchmark.tracking"},
    "benchmark.ranking.pool_ranking": {  # what the commands `rank` and `race` share, from the sources to the page
        "benchmark.data",
        "benchmark.sources",
        "benchmark.metric",
        "benchmark.jobs",
        "benchmark.ranking",
        "analysis",
    },
    "benchmark.ranking": {
        "benchmark.core",
        "benchmark.data",
        "benchmark.sources",
        "benchmark.features",
        "benchmark.statistics",
        "benchmark.metric",
        "benchmark.training",
        "benchmark.jobs",
        "benchmark.tracking",
    },
    "benchmark.racing": {
        "benchmark.core",
        "benchmark.data",
        "benchmark.sources",
        "benchmark.training",
        "benchmark.ranking",
        "benchmark.orchestration",
        "benchmark.jobs",
        "benchmark.tracking",
    },
    "baselines": {"benchmark.core", "benchmark.statistics", "benchmark.metric"},
    "analysis": {"benchmark.tracking"},
}
# the exceptions that the command line turns into exit code 2, files of our own, the terminal, a suite's settings, and
# two rules that commands and the analysis follow alike
EVERYWHERE = {
    "benchmark.racing.halving",
    "benchmark.ranking.default_metrics",
    "benchmark.errors",
    "benchmark.storage.files",
    "benchmark.storage.digest",
    "benchmark.storage.digest_memory",
    "benchmark.storage.prepared_settings",
    "benchmark.jobs.terminal",
    "benchmark.jobs.suite_settings",
}
FOR_COMMANDS = {
    "benchmark.jobs.cli",
    "benchmark.jobs.keys",
}  # what makes a module a command, such as analysis.correlate
MAY_IMPORT_ANALYSIS = {f"benchmark/{name}.py" for name in ("bench", "race", "ranking/pool_ranking", "sensitivity")}
MAY_IMPORT_MLFLOW = {f"benchmark/tracking/{name}.py" for name in ("store", "outbox", "artifacts")}


@dataclass(frozen=True)
class Module:
    """One source file: its path within the tree, its dotted name, its text and its syntax tree."""

    path: str
    name: str
    text: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.endswith("__init__.py")

    @property
    def is_command(self) -> bool:
        return any(
            isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" for node in self.tree.body
        )


@cache
def read_modules(root: Path) -> list[Module]:
    """All modules of a tree, read once."""
    modules = []
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            relative = path.relative_to(root)
            parts = relative.with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = path.read_text(encoding="utf-8")
            modules.append(Module(relative.as_posix(), name, text, ast.parse(text)))
    return modules


@cache
def imported(module: Module) -> list[tuple[int, str]]:
    """Line and dotted name of all that a module imports, relative imports and `import_module("...")` included."""
    return list(_imported(module))


def _imported(module: Module) -> Iterator[tuple[int, str]]:
    package = module.name if module.is_package else module.name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{above}.{base}".rstrip(".")
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            yield from ((node.lineno, text) for text in texts)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def stage(name: str) -> str | None:
    """The stage of ARROWS that a dotted name belongs to, if any."""
    return next((stage for stage in ARROWS if inside(name, stage)), None)


def arrows(root: Path) -> list[str]:
    """A stage imports itself, what ARROWS allows, and EVERYWHERE; its commands also what makes them commands."""
    offences = []
    for module in read_modules(root):
        if (own := stage(module.name)) is None:
            continue
        allowed = {own} | ARROWS[own] | EVERYWHERE | (FOR_COMMANDS if module.is_command else set())
        for line, name in imported(module):
            ours = any(inside(name, package) for package in PACKAGES)
            if ours and not any(inside(name, package) for package in allowed):
                offences.append(f"{module.path}:{line}: {own} imports {name}")
    return offences


def benchmark_knows_no_baseline(root: Path) -> list[str]:
    """Hydra's `_target_` joins the two."""
    return [
        f"{module.path}:{line}: imports {name}"
        for module in read_modules(root)
        if inside(module.name, "benchmark")
        for line, name in imported(module)
        if inside(name, "baselines")
    ]


def only_some_import(package: str, within: tuple[str, ...], allowed: set[str]) -> Callable[[Path], list[str]]:
    def rule(root: Path) -> list[str]:
        return [
            f"{module.path}:{line}: imports {name}"
            for module in read_modules(root)
            if module.path.startswith(within) and module.path not in allowed
            for line, name in imported(module)
            if inside(name, package)
        ]

    return rule


def file_length(root: Path) -> list[str]:
    return [
        f"{module.path}: {lines} lines, at most {MAX_FILE_LINES}"
        for module in read_modules(root)
        if (lines := len(module.text.splitlines())) > MAX_FILE_LINES
    ]


def function_length(root: Path) -> list[str]:
    return [
        f"{module.path}:{node.lineno}: {node.name} has {lines} lines, at most {MAX_FUNCTION_LINES}"
        for module in read_modules(root)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := node.end_lineno - node.lineno + 1) > MAX_FUNCTION_LINES
    ]


def telling_names(root: Path) -> list[str]:
    return [
        f"{module.path}: {word} does not say what is inside"
        for module in read_modules(root)
        for word in sorted(VAGUE_NAMES & set(module.name.rpartition(".")[2].strip("_").split("_")))
    ]


def module_docstrings(root: Path) -> list[str]:
    return [f"{module.path}: no docstring" for module in read_modules(root) if not ast.get_docstring(module.tree)]


def no_bare_except(root: Path) -> list[str]:
    return [
        f"{module.path}:{node.lineno}: bare except"
        for module in read_modules(root)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]


def print_in_commands_only(root: Path) -> list[str]:
    return [
        f"{module.path}:{node.lineno}: print outside the command-line layer"
        for module in read_modules(root)
        if not module.is_command
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def forked(tree: ast.Module) -> set[ast.AST]:
    """All that stands inside `with torch.random.fork_rng(...)`, which gives the process its generator back."""
    blocks = (node for node in ast.walk(tree) if isinstance(node, ast.With))
    return {
        inner
        for block in blocks
        if any("fork_rng(" in ast.unparse(item.context_expr) for item in block.items)
        for inner in ast.walk(block)
    }


def no_global_seed(root: Path) -> list[str]:
    """Randomness is a Generator handed in; a command may seed its own process."""
    modules = r"(torch|torch\.random|torch\.cuda|np\.random|numpy\.random|random)"
    seeders = re.compile(rf"{modules}\.(manual_seed|seed)$|(.*\.)?set_determinism$")
    return [
        f"{module.path}:{node.lineno}: {ast.unparse(node.func)} seeds the whole process"
        for module in read_modules(root)
        if not module.is_command
        for node in set(ast.walk(module.tree)) - forked(module.tree)
        if isinstance(node, ast.Call) and seeders.match(ast.unparse(node.func))
    ]


def commands_at_the_top(root: Path) -> list[str]:
    """A loose file at the top of `benchmark` or `analysis` is a command; all else has a room."""
    return [
        f"{module.path}: no command, so it belongs into a room"
        for module in read_modules(root)
        if module.path.count("/") == 1 and not module.path.startswith("baselines")
        if not module.is_command and module.name not in EVERYWHERE and not module.is_package
    ]


def nothing_imports_a_command(root: Path) -> list[str]:
    modules = read_modules(root)
    commands = [module.name for module in modules if module.is_command]
    return [
        f"{module.path}:{line}: imports the command {command}"
        for module in modules
        for line, name in imported(module)
        for command in commands
        if inside(name, command) and module.name != command
    ]


def imports(root: Path) -> dict[str, set[str]]:
    """Module -> the modules of the tree that it imports anywhere but under TYPE_CHECKING."""
    modules = {module.name: module for module in read_modules(root)}
    return {name: _imports(module, modules) for name, module in modules.items()}


def _imports(module: Module, modules: dict[str, Module]) -> set[str]:
    typing = [
        node for node in ast.walk(module.tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    unseen = {line for node in typing for line in range(node.lineno, node.end_lineno + 1)}
    found = set()
    for line, name in imported(module):
        if line not in unseen:
            found |= {name, name.rpartition(".")[0]} & set(modules) if name not in modules else {name}
    return found - {module.name}


def no_circle(root: Path) -> list[str]:
    graph = imports(root)
    offences = []
    for start in sorted(graph):
        reached, waiting = set(), [start]
        while waiting:
            new = graph[waiting.pop()] - reached
            reached |= new
            waiting += new
        if start in reached:
            offences.append(f"{start.replace('.', '/')}.py: imports itself through {', '.join(sorted(graph[start]))}")
    return offences[:1]


def longest_chain(root: Path) -> list[str]:
    """The longest chain of imports, from its top; [] where there is a circle."""
    graph, found = imports(root), {}
    if no_circle(root):
        return []

    def chain(name: str) -> list[str]:
        if name not in found:
            found[name] = [name, *max((chain(other) for other in sorted(graph[name])), key=len, default=[])]
        return found[name]

    return max((chain(name) for name in sorted(graph)), key=len, default=[])


def class_names_once(root: Path) -> list[str]:
    places: dict[str, list[str]] = {}
    for module in read_modules(root):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{module.path}:{node.lineno}")
    return [
        f"{twice[-1]}: class {name} is also at {', '.join(twice[:-1])}"
        for name, twice in places.items()
        if len(twice) > 1
    ]


RULES = {
    "arrows": arrows,
    "commands_at_the_top": commands_at_the_top,
    "nothing_imports_a_command": nothing_imports_a_command,
    "no_circle": no_circle,
    "class_names_once": class_names_once,
    "benchmark_knows_no_baseline": benchmark_knows_no_baseline,
    "analysis_enters_at_some_commands": only_some_import("analysis", ("benchmark", "baselines"), MAY_IMPORT_ANALYSIS),
    "mlflow_enters_at_tracking": only_some_import("mlflow", PACKAGES, MAY_IMPORT_MLFLOW),
    "file_length": file_length,
    "function_length": function_length,
    "telling_names": telling_names,
    "module_docstrings": module_docstrings,
    "no_bare_except": no_bare_except,
    "print_in_commands_only": print_in_commands_only,
    "no_global_seed": no_global_seed,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps(rule):
    assert RULES[rule](ROOT) == []


def test_no_chain_of_imports_is_long():
    chain = longest_chain(ROOT)
    print(f"longest chain of imports: {len(chain)} modules: {' > '.join(chain)}")
    assert 1 < len(chain) <= MAX_CHAIN


@pytest.mark.parametrize("length", [MAX_CHAIN, MAX_CHAIN + 1])
def test_a_long_chain_is_measured(length, tmp_path):
    links = {
        f"benchmark/data/link_{at:02d}.py": f"def f():\n    import benchmark.data.link_{at + 1:02d}\n"
        for at in range(length - 1)
    }
    hidden = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import benchmark.data.link_00\n"
    plant(tmp_path, {**links, f"benchmark/data/link_{length - 1:02d}.py": hidden})
    assert len(longest_chain(tmp_path)) == length


def test_every_stage_of_the_arrows_exists():
    names = {module.name for module in read_modules(ROOT)}
    assert (set(ARROWS) | EVERYWHERE | FOR_COMMANDS) - names == set()


def test_the_arrows_hold_no_circle():
    seen: set[str] = set()
    while free := {name for name, needs in ARROWS.items() if needs <= seen} - seen:
        seen |= free
    assert seen == set(ARROWS)


DOC = '"""A module."""\n'
MAIN = 'if __name__ == "__main__":\n    print("hello")\n'
LONG = "def f():\n" + "    x = 1\n" * 60

# rule -> files that break it; the same tree without them, or the file in `GOOD`, does not
OFFENDERS = {
    "arrows": {
        "benchmark/data/embedded/scans.py": DOC + "from benchmark.features import taps\n",
        "benchmark/core/energy.py": DOC + "from benchmark.statistics.moments import ClassMoments\n",
        "benchmark/core/deep/kernel.py": DOC + "from ...metric import Score\n",
        "benchmark/statistics/moments.py": DOC + "from benchmark import ClassMoments\n",
        "benchmark/metric/protocol.py": DOC + "from ..ccfv import ccfv_score\n",
        "baselines/leep.py": DOC + "import benchmark.ccfv\n",
        "analysis/tables/tables.py": DOC + "def f():\n    from baselines import logme_score\n",
        "analysis/plots.py": DOC + "from benchmark.data.files.cases import Case\n",
        "analysis/report.py": DOC + "from benchmark.jobs.cli import run_command\n",
    },
    "commands_at_the_top": {"benchmark/streaming.py": DOC, "analysis/yardstick.py": DOC + "x = 1\n"},
    "nothing_imports_a_command": {
        "benchmark/orchestration/planner.py": DOC + "def f():\n    from benchmark.rank import run\n",
        "analysis/tables/verdict.py": DOC + "from analysis import correlate\n",
    },
    "no_circle": {"benchmark/core/gather.py": DOC + "def f():\n    from benchmark.features import stream\n"},
    "class_names_once": {"benchmark/ranking/cost.py": DOC + "class Kept:\n    pass\n\n\nclass Kept:\n    pass\n"},
    "benchmark_knows_no_baseline": {
        "benchmark/score.py": DOC + "def f():\n    import baselines.logme\n",
        "benchmark/bench.py": DOC + 'import importlib\nimportlib.import_module("baselines")\n',
    },
    "analysis_enters_at_some_commands": {
        "benchmark/score.py": DOC + "from analysis import weighted_kendall\n",
        "baselines/leep.py": DOC + "import analysis\n",
    },
    "mlflow_enters_at_tracking": {
        "benchmark/truth.py": DOC + "import mlflow\n",
        "analysis/report.py": DOC + "from mlflow.entities import Metric\n",
    },
    "file_length": {"benchmark/score.py": DOC + "x = 1\n" * MAX_FILE_LINES},
    "function_length": {"benchmark/score.py": DOC + LONG},
    "telling_names": {"benchmark/utils.py": DOC, "analysis/plot_helpers.py": DOC, "baselines/manager.py": DOC},
    "module_docstrings": {"benchmark/score.py": "x = 1\n", "benchmark/data/__init__.py": ""},
    "no_bare_except": {"benchmark/score.py": DOC + "try:\n    x = 1\nexcept:\n    pass\n"},
    "print_in_commands_only": {"benchmark/metric/protocol.py": DOC + "def f():\n    print(1)\n"},
    "no_global_seed": {
        "benchmark/ccfv.py": DOC + "import torch\ntorch.manual_seed(0)\n",
        "baselines/leep.py": DOC + "import numpy as np\nnp.random.seed(0)\n",
        "benchmark/score.py": DOC + "from monai.utils import set_determinism\nset_determinism(0)\n",
    },
}
GOOD = {
    "benchmark/features/stream.py": DOC + "from benchmark.core.gather import gather\nfrom ..data import case\n",
    "benchmark/data/files/case.py": DOC + "from ..errors import InputError\nfrom . import volumes\nimport torch\n",
    "benchmark/race.py": DOC + "from analysis import tables\n" + MAIN,
    "benchmark/rank.py": DOC + "from benchmark.sources import file\n" + MAIN,
    "benchmark/tracking/store.py": DOC + "import mlflow\nfrom benchmark.tracking.records import TruthRow\n",
    "benchmark/pretrain.py": DOC + "import torch\ngenerator = torch.Generator().manual_seed(0)\n" + MAIN,
    "benchmark/sources/arch.py": DOC + "import torch\nwith torch.random.fork_rng():\n    torch.manual_seed(0)\n",
    "analysis/tables/tables.py": DOC
    + "from benchmark.tracking.records import frames\nfrom analysis.plots import figure\n",
    "analysis/correlate.py": DOC
    + "from benchmark.jobs.cli import run_command\nfrom benchmark.jobs.keys import job_key\n"
    + MAIN,
    "baselines/logme.py": DOC + "from benchmark.statistics import ClassMoments\n" + LONG.replace("    x = 1\n", "", 1),
}


def plant(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def test_every_rule_has_offenders():
    assert set(OFFENDERS) == set(RULES)


@pytest.mark.parametrize("rule", RULES)
def test_a_well_kept_tree_passes(rule, tmp_path):
    plant(tmp_path, GOOD)
    assert RULES[rule](tmp_path) == []


@pytest.mark.parametrize(("rule", "path"), [(rule, path) for rule, files in OFFENDERS.items() for path in files])
def test_an_offender_is_found(rule, path, tmp_path):
    plant(tmp_path, GOOD | {path: OFFENDERS[rule][path]})
    offences = RULES[rule](tmp_path)
    assert offences
    assert all(offence.startswith(path) for offence in offences)
