"""A job's key: settings, inputs and code change it; order, comments and places do not."""

import sys

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from benchmark.jobs import keys as jobs
from benchmark.jobs.cli import CONF
from benchmark.jobs.keys import code_digest, job_key, targets
from benchmark.jobs.stage_keys import STAGES, prepare_key, pretrain_key, stages_code, truth_keys
from benchmark.statistics import StageSample

FILES = {
    "__init__.py": "",
    "stage.py": "from fakepackage.inner import first\nfrom . import second\nfrom .inner import third\n\nVALUE = 1\n",
    "second.py": "SECOND = 1\n",
    "metric.py": "import json\nMETRIC = 1\n",
    "inner/__init__.py": "from .first import FIRST\n",
    "inner/first.py": "FIRST = 1\n",
    "inner/third.py": "import fakepackage.inner.fourth\n",
    "inner/fourth.py": "def late():\n    from fakepackage import fifth\n    return fifth\n",
    "fifth.py": "FIFTH = 1\n",
    "stranger.py": "STRANGER = 1\n",
}


def forget():
    """Read every module again."""
    code_digest.cache_clear()
    jobs._module.cache_clear()


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose stage imports others in every way that there is; returns what changes a file of it."""
    for name, text in FILES.items():
        path = tmp_path / "fakepackage" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(jobs, "PACKAGES", ("fakepackage",))

    def change(name: str, text: str) -> None:
        (tmp_path / "fakepackage" / name).write_text(text, encoding="utf-8")
        forget()

    forget()
    yield change
    forget()
    for name in [name for name in sys.modules if name.startswith("fakepackage")]:
        del sys.modules[name]


def _key(stage="truth", code=("fakepackage.metric",), **inputs):
    return job_key(stage, "fakepackage.stage", {"a": 1, "b": {"c": [1, 2], "d": 3}} | inputs, code=code)


def test_a_key_is_64_digits_and_stable(package):
    assert len(_key()) == 64
    assert _key() == _key()
    assert int(_key(), 16)


def test_the_order_of_settings_does_not_matter_that_of_lists_does(package):
    settings = {"b": {"d": 3, "c": [1, 2]}, "a": 1}
    assert job_key("truth", "fakepackage.stage", settings, code=["fakepackage.metric"]) == _key()
    assert _key(b={"c": [2, 1], "d": 3}) != _key()


def test_the_order_of_code_does_not_matter(package):
    both = ("fakepackage.metric", "fakepackage.stranger")
    assert _key(code=both) == _key(code=both[::-1]) == _key(code=(*both, "fakepackage.stage"))


@pytest.mark.parametrize(
    "inputs", [{"a": 2}, {"a": "1"}, {"a": None}, {"data": "0" * 64}, {"b": {"c": [1, 2], "d": 4}}]
)
def test_settings_and_digests_of_data_matter(package, inputs):
    assert _key(**inputs) != _key()


def test_the_stage_matters(package):
    assert _key(stage="score") != _key()


@pytest.mark.parametrize(
    "name", ["stage.py", "second.py", "metric.py", "inner/__init__.py", "inner/first.py", "inner/third.py",
             "inner/fourth.py", "fifth.py"]
)  # fmt: skip
def test_the_code_of_the_stage_and_of_all_that_it_imports_matters(package, name):
    before = _key()
    package(name, FILES[name] + "\nMORE = 2\n")
    assert _key() != before


def test_comments_and_layout_do_not_matter(package):
    before = _key()
    package("inner/first.py", "# why it is one\n\n\nFIRST = (  # here\n    1\n)\n")
    assert _key() == before


def test_remembering_a_value_does_not_matter(package):
    package("inner/first.py", "FIRST = 1\ndef read(path):\n    return digest(path) + 1\n")
    before = _key()
    wrapped = (
        "from benchmark.storage.digest_memory import remembered\nFIRST = 1\ndef read(path):\n    return {}(path) + 1\n"
    )
    package("inner/first.py", wrapped.format("remembered(digest)"))
    assert _key() == before
    package("inner/first.py", wrapped.format("remembered(other)"))
    assert _key() != before


def test_code_that_is_not_imported_does_not_matter(package):
    before = _key()
    package("stranger.py", "STRANGER = 2\n")
    assert _key() == before


def test_what_records_and_shows_does_not_matter(monkeypatch):
    """The keys of a whole stage do not follow the store's code."""
    seen = []
    find = jobs._path
    monkeypatch.setattr(jobs, "_path", lambda name: seen.append(name) or find(name))
    forget()
    code_digest(("benchmark.truth",))
    assert {"benchmark.truth", "benchmark.training.dice", "benchmark.sources.pairing"} <= set(seen)
    shows = tuple(f"{name}." for name in jobs.BOOKKEEPING)
    assert [name for name in seen if f"{name}.".startswith(shows)] == []


def test_a_folder_is_a_place_and_no_setting(package):
    assert _key(target={"folder": "here", "name": "liver"}) == _key(target={"folder": "there", "name": "liver"})
    fetched = {"folder": "here", "name": "liver", "download": True}
    assert _key(target=fetched) == _key(target=fetched | {"download": False})
    assert _key(target=[{"folder": "here"}]) == _key(target=[{"folder": "there"}])
    assert _key(target={"folder": "here", "name": "liver"}) != _key(target={"folder": "here", "name": "lung"})


def test_targets_are_found_wherever_they_are():
    settings = {
        "_target_": "benchmark.sources.pretrained.PoolSource",
        "arch": {"network": {"_target_": "monai.networks.nets.DynUNet", "_partial_": True}},
        "list": [{"_target_": "baselines.logme.LogME"}, 3],
    }
    assert targets(settings) == ["benchmark.sources.pretrained", "monai.networks.nets", "baselines.logme"]
    assert targets(OmegaConf.to_container(OmegaConf.create({"a": 1}))) == []


# --- the keys of the stages ---


def test_only_jobs_whose_metrics_read_stages_follow_the_discovery_of_stages(monkeypatch):
    seen = []
    find = jobs._path
    monkeypatch.setattr(jobs, "_path", lambda name: seen.append(name) or find(name))
    discovery = {STAGES, "benchmark.sources.networks.discover", "benchmark.sources.networks.trace"}
    forget()
    code_digest(("benchmark.score", "benchmark.features.stream", "benchmark.ranking.case_passes"))
    assert discovery & set(seen) == set()
    forget()
    code_digest((STAGES,))
    assert discovery <= set(seen)
    readers = set()
    for path in (CONF / "metric").glob("[!_]*.yaml"):
        node = OmegaConf.to_container(OmegaConf.load(path))
        reads = any(request.kind is StageSample for request in instantiate(node).requires)
        assert stages_code({path.stem: node}) == ([STAGES] if reads else [])
        readers |= {path.stem} if reads else set()
    assert readers == {"tlc", "topote"}


def test_moved_data_are_the_same_data(compose_command, prepared, tmp_path):
    moved = tmp_path / "moved"
    moved.symlink_to(prepared)
    suite = "experiment=synthetic"
    here, there = (
        [
            prepare_key(compose_command("prepare", "task=synthetic_ball", "suite=synthetic", place).task),
            pretrain_key(compose_command("pretrain", "source=synthetic_ball", suite, place).source),
            truth_keys(compose_command("truth", "source=scratch", "target=synthetic_ball", suite, place)),
        ]
        for place in (f"data_dir={prepared}", f"data_dir={moved}")
    )
    assert here == there


def test_what_the_truth_depends_on(compose_command, prepared):
    base = ["source=synthetic_ball", "target=synthetic_pebble", "experiment=synthetic", f"data_dir={prepared}"]

    def key(*overrides):
        return truth_keys(compose_command("truth", *base, *overrides))[0]

    before = key()
    assert key("seeds=[0,1]") == before
    for change in ("trainer.tune=head", "trainer.budget.steps=4", "source.seed=1", "source.budget.lr=1e-2",
                   "target=synthetic_drop", "source=scratch", "trainer.overlap=0.5",
                   "target.normalisation.window=[0,2]"):  # fmt: skip
        assert key(change) != before, change
    for same in ("threads=2", "output_dir=/elsewhere", "tracking.uri=sqlite:///elsewhere.db", "progress=file"):
        assert key(same) == before, same
    keys = truth_keys(compose_command("truth", *base, "seeds=[0,1]"))
    assert keys[0] == before != keys[1]


def test_changed_data_change_the_keys_of_all_that_follows(compose_command, study):
    overrides = ["experiment=synthetic", *study.overrides]
    source = compose_command("pretrain", "source=synthetic_ball", *overrides)
    truth = compose_command("truth", "source=synthetic_ball", "target=synthetic_pebble", *overrides)
    other = compose_command("truth", "source=scratch", "target=synthetic_pebble", *overrides)
    before = pretrain_key(source.source), truth_keys(truth), truth_keys(other)
    path = study.task("synthetic_ball") / "dataset.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"synthetic"', '"made up"'), encoding="utf-8")
    after = pretrain_key(source.source), truth_keys(truth), truth_keys(other)
    assert after[0] != before[0]
    assert after[1] != before[1]  # its source was trained on these data
    assert after[2] == before[2]  # neither source nor target read them


WORDED = '''"""{docstring}"""
import logging
log = logging.getLogger(__name__)
FIRST = 1

class Thing:
    """{docstring}"""

    def area(self, side):
        """{docstring}"""
        if side < 0:
            rule = f"{message}: {{side}}"
            raise ValueError(rule + "{message}")
        if side > 9:
            raise SkipPair("{skip}")
        log.info("{log}: %s", side)
        return side * {factor}, "{reason}"
'''
WORDS = {"docstring": "One thing.", "message": "bad side", "log": "area of", "skip": "too large", "factor": "2",
         "reason": "nothing to say"}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "matters"),
    [("docstring", False), ("message", False), ("log", False), ("skip", True), ("factor", True), ("reason", True)],
)
def test_wording_is_no_work_but_a_formula_and_a_stored_reason_are(package, name, matters):
    package("inner/first.py", WORDED.format(**WORDS))
    before = _key()
    package("inner/first.py", WORDED.format(**WORDS | {name: "3" if name == "factor" else "Other words"}))
    assert (_key() != before) == matters
