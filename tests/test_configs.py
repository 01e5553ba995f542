"""Every yaml under conf/ composes through a command that uses it, and every `_target_` accepts the keys beside it."""

import inspect
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import get_class, get_object, instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from benchmark.jobs.cli import prepare_config, suite_sources

CONF = Path(__file__).parent.parent / "conf"
# Hydra's own keys of a node that names a target
RESERVED = {"_target_", "_partial_", "_recursive_", "_convert_", "_args_"}
# Groups whose nodes are cheap to build, from the yaml alone
LIGHT = ("metric",)


@pytest.fixture(scope="module", autouse=True)
def command_line():
    """The resolvers and the choices that commands make for themselves."""
    prepare_config()


def roots(conf: Path = CONF) -> list[str]:
    """The commands; a root with a leading underscore is a base of others."""
    return sorted(path.stem for path in conf.glob("[!_]*.yaml"))


def choices(conf: Path = CONF) -> list[str]:
    """`group/name` of all that can be chosen; names with a leading underscore are bases of others."""
    sources = [f"source/{name}" for name in suite_sources()] if conf == CONF else []
    return sorted(
        [path.relative_to(conf).with_suffix("").as_posix() for path in conf.glob("*/**/[!_]*.yaml")] + sources
    )


@cache
def entries(name: str, conf: Path = CONF) -> dict[str, object]:
    """A yaml's own defaults list as group -> what it names; `override` and `optional` are Hydra's words, no group's."""
    content = yaml.safe_load((conf / f"{name}.yaml").read_text(encoding="utf-8")) or {}
    found: dict[str, object] = {}
    for entry in content.get("defaults", []):
        for key, value in (entry if isinstance(entry, dict) else {entry: None}).items():
            found[key.split()[-1].split("@")[0].lstrip("/")] = value
    return found


def defaults(root: str, conf: Path = CONF) -> dict[str, object]:
    """A root's defaults list, with those of the bases that it names."""
    own = entries(root, conf)
    bases = [name for name in own if (conf / f"{name}.yaml").is_file()]
    return {group: value for name in bases for group, value in defaults(name, conf).items()} | own


def first(group: str, conf: Path = CONF) -> str:
    """The first choice of a group, on disk or made by the commands themselves."""
    on_disk = [name.rpartition("/")[2] for name in choices(conf) if name.rpartition("/")[0] == group]
    return (on_disk or [Path(name).stem for name in ConfigStore.instance().list(group)])[0]


def required(root: str, conf: Path = CONF) -> dict[str, str]:
    """The groups that a command leaves to its caller (`???`), each with the first choice there is."""
    return {group: first(group, conf) for group, value in defaults(root, conf).items() if value == "???"}


@contextmanager
def hydra_over(conf: Path) -> Iterator[None]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf), version_base="1.3"):
        yield


def compose_root(root: str, conf: Path = CONF, *, hydra: bool = False, **given: str) -> DictConfig:
    """A command's config; `given` are further choices, group or group@package -> name."""
    overrides = [f"{group}={value}" for group, value in (required(root, conf) | given).items()]
    with hydra_over(conf):
        return compose(root, overrides, return_hydra_config=hydra)


@cache
def nested(root: str, conf: Path = CONF) -> dict[str, str]:
    """Group -> group@package, for the groups that a command reaches through another choice."""
    return {key.partition("@")[0]: key for key in compose_root(root, conf, hydra=True).hydra.runtime.choices}


def command_of(group: str, conf: Path = CONF) -> tuple[str, str] | None:
    """A command that lets its caller choose from this group, and the key that does so on its command line."""
    own = ((root, group) for root in roots(conf) if group in defaults(root, conf))
    inner = ((root, nested(root, conf)[group]) for root in roots(conf) if group in nested(root, conf))
    return next(own, None) or next(inner, None)


@cache
def compose_choice(choice: str, conf: Path = CONF) -> DictConfig:
    """The config of the first command that lets its caller make this choice."""
    group, _, name = choice.rpartition("/")
    found = command_of(group, conf)
    if found is None:
        raise LookupError(f"no command has {group} in its defaults list")
    root, key = found
    listed = isinstance(defaults(root, conf).get(group), list)
    return compose_root(root, conf, hydra=group.startswith("hydra"), **{key: f"[{name}]" if listed else name})


def targets(node: object, path: str = "") -> Iterator[tuple[str, DictConfig]]:
    """Every node with a `_target_`, with its path in the config."""
    if isinstance(node, DictConfig) and not node._is_none():  # Hydra's own nodes may be null
        if "_target_" in node:
            yield path, node
        children = [(key, node._get_node(key)) for key in node]
    elif isinstance(node, ListConfig):
        children = [(index, node._get_node(index)) for index in range(len(node))]
    else:
        return
    for key, child in children:
        yield from targets(child, f"{path}.{key}".lstrip("."))


def mismatches(config: DictConfig) -> list[str]:
    """Targets that cannot be imported, or that do not take the keys that their yaml gives."""
    found = []
    for path, node in targets(config):
        name = node._get_node("_target_")._value()
        try:
            signature = inspect.signature(get_object(name))
            signature.bind_partial(**dict.fromkeys(set(map(str, node)) - RESERVED))
        except (ImportError, AttributeError, TypeError, ValueError) as error:
            found.append(f"{path}: {name}: {error}")
    return found


def test_the_tree_is_there():
    assert roots()
    assert choices()


@pytest.mark.parametrize("root", roots())
def test_a_command_composes(root):
    config = compose_root(root)
    assert OmegaConf.to_container(config, resolve=True)  # every interpolation leads somewhere
    assert mismatches(config) == []


@pytest.mark.parametrize("choice", sorted({*choices()} - {f"source/{name}" for name in suite_sources()}))
def test_a_choice_composes_through_a_command(choice):
    config = compose_choice(choice)
    assert mismatches(config) == []


@pytest.mark.parametrize("choice", [choice for choice in choices() if choice.startswith(LIGHT)])
def test_a_light_choice_is_built_from_its_yaml(choice):
    group = choice.rpartition("/")[0]
    nodes = [node for path, node in targets(compose_choice(choice)) if path.startswith(group)]
    assert nodes, f"{choice} names no _target_"
    for node in nodes:
        assert instantiate(node).name


def names_in(group: str) -> list[str]:
    return [choice.rpartition("/")[2] for choice in choices() if choice.rpartition("/")[0] == group]


@pytest.mark.parametrize("root", [root for root in roots() if "experiment" in defaults(root)])
@pytest.mark.parametrize("experiment", names_in("experiment"))
def test_an_experiment_fits_every_command_that_takes_one(root, experiment):
    assert mismatches(compose_root(root, experiment=experiment)) == []


@pytest.mark.parametrize("experiment", names_in("experiment"))
def test_a_study_of_settings_has_a_target_of_the_experiment_s_suite(experiment):
    config = compose_root("sensitivity", experiment=experiment)
    assert config.study_target in config.suite.targets


def test_the_paper_s_ablation_has_the_rows_of_its_table_2_and_two_more():
    plain, ablation = (compose_root("score", experiment=name) for name in ("paper", "paper_ablation"))
    assert {key: value for key, value in plain.items() if key != "metric"} == {
        key: value for key, value in ablation.items() if key != "metric"
    }
    standard = vars(instantiate(ablation.metric.ccfv))
    changed = {
        name: {key: value for key, value in vars(instantiate(node)).items() if value != standard[key]}
        for name, node in ablation.metric.items()
        if name not in plain.metric
    }
    assert changed == {
        "ccfv_variety": {"terms": "variety"},
        "ccfv_consistency": {"terms": "consistency"},
        "ccfv_single_scale": {"places": [2]},
        "ccfv_kl": {"distance": "kl"},
        "ccfv_bhattacharyya": {"distance": "bhattacharyya"},
        "ccfv_proportional": {"counts": "proportional"},
        "ccfv_sum": {"energy": "sum"},
    }


def test_the_points_of_ccfv_become_proportional_on_the_command_line():
    composed = compose_root("score", **{"metric": "[ccfv]", "metric.ccfv.counts": "proportional"})
    assert instantiate(composed.metric.ccfv).requires[0].allocation == "proportional"


@pytest.mark.parametrize("suite", names_in("suite"))
def test_a_suite_names_tasks_and_sources_that_exist(suite):
    config = compose_choice(f"suite/{suite}").suite
    assert set(config.tasks) <= set(names_in("task"))
    assert set(config.targets) <= set(config.tasks)
    assert set(config.sources) == set(config.pretrained)
    assert set(config.sources) <= set(names_in("source"))


@cache
def pretrained_by(suite: str) -> frozenset[str]:
    return frozenset(compose_choice(f"suite/{suite}").suite.pretrained)


@pytest.mark.parametrize("source", [*suite_sources(), "scratch", "scratch_wide"])
def test_a_source_is_built_with_a_suite_that_does_not_train_it(source):
    suite = next(name for name in names_in("suite") if source not in pretrained_by(name))
    config = compose_root("pretrain", source=source, suite=suite, experiment=suite)
    built = instantiate(config.source)
    assert mismatches(config) == []
    assert built.name == source
    assert built.budget.steps == 0 or built.task.name


def test_metrics_chosen_together_keep_apart():
    names = [choice.removeprefix("metric/") for choice in choices() if choice.startswith("metric/")]
    config = compose_root("score", metric=f"[{','.join(names)}]")
    assert sorted(config.metric) == names


def test_a_metric_s_yaml_names_the_passes_that_it_needs():
    for path in sorted((CONF / "metric").glob("[!_]*.yaml")):
        text = path.read_text(encoding="utf-8")
        named = re.findall(r"^# needs: (.+)$", text, flags=re.MULTILINE)
        needs = getattr(get_class(yaml.safe_load(text)["_target_"]), "needs", ())
        assert ", ".join(needs) == "".join(named), path.name


def test_metrics_of_extra_passes_or_much_memory_are_computed_only_if_chosen():
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (CONF / "metric").glob("[!_]*.yaml")}
    marked = {name for name, text in texts.items() if re.search(r"^# (needs|optional): .", text, flags=re.MULTILINE)}
    assert marked >= {"crank", "otce", "ped", "tlc", "topote"}
    assert set(compose_root("score").metric) == set(texts) - marked


def test_every_base_is_used():
    bases = {path.relative_to(CONF).with_suffix("") for path in CONF.glob("**/_*.yaml")}
    used = {Path("source") / settings.get("base", "_pool") for settings in suite_sources().values()}
    for path in CONF.glob("**/*.yaml"):
        name = path.relative_to(CONF).with_suffix("")
        used |= {name.parent / entry for entry in entries(name.as_posix())}
    assert bases <= used


@pytest.fixture
def broken(tmp_path):
    """A small tree with one right and three wrong choices."""
    files = {
        "run.yaml": "defaults:\n  - part: ???\n  - many: [good]\n  - _self_\n",
        "part/good.yaml": "_target_: fractions.Fraction\nnumerator: 1\n",
        "part/nowhere.yaml": "inner:\n  - _target_: fractions.NoSuchName\n",
        "part/wrong_key.yaml": "_target_: fractions.Fraction\nnumerators: 1\n",
        "many/good.yaml": "good:\n  _target_: fractions.Fraction\n",
        "lonely/alone.yaml": "x: 1\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def test_what_is_wrong_is_found(broken):
    assert mismatches(compose_root("run", broken)) == []
    assert mismatches(compose_choice("part/good", broken)) == []
    assert mismatches(compose_choice("many/good", broken)) == []
    assert "fractions.NoSuchName" in mismatches(compose_choice("part/nowhere", broken))[0]
    assert "numerators" in mismatches(compose_choice("part/wrong_key", broken))[0]
    with pytest.raises(LookupError, match="no command has lonely"):
        compose_choice("lonely/alone", broken)
