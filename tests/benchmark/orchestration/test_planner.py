"""The plan of a study: who is paired with whom, and which jobs are the longest."""

import re
from itertools import chain

import pytest
from hydra import compose
from hydra.errors import InstantiationException

from benchmark.data.tasks.task import class_names
from benchmark.errors import InputError
from benchmark.jobs.cli import message_of, resolved
from benchmark.orchestration.planner import Planner


def test_a_source_that_names_a_target_s_class_is_left_out(planner):
    others = ["synthetic_drop", "scratch", "scratch_wide"]
    assert planner().pools == {
        "synthetic_ball": ["synthetic_pebble", *others],
        "synthetic_pebble": ["synthetic_ball", *others],
    }


def test_no_source_of_the_embedded_suite_saw_a_class_of_its_target(planner):
    """Pools are made by names; here the labels of the scans, too, tell the classes of source and target apart."""
    sources, pairs = planner(suite="scans").sources, 0
    for target in compose("bench").suite.targets:
        own = compose("prepare", [f"task={target}"]).task
        tasks = [node.task for node in sources.values() if node.task]
        pool = [task for task in tasks if not _names(task) & _names(own)]
        for task in [task for task in pool if task.scan.labels == own.scan.labels]:
            assert not {*chain(*task.classes_from.values())} & {*chain(*own.classes_from.values())}
        assert len(pool) >= 18  # and two from scratch
        pairs += len(pool)
    assert pairs > 90


def _names(task):
    return class_names(dict(enumerate(task.classes_from, 1)))


def test_with_include_same_class_only_the_target_s_own_source_is_left_out(planner):
    pools = planner("suite.pool=include_same_class").pools
    assert all(target not in sources for target, sources in pools.items())


def test_each_seed_of_a_pair_has_a_key_of_its_own(planner):
    jobs = planner("suite.sources=[scratch,synthetic_drop]").tuned("synthetic_ball", [0, 1])
    assert [job.overrides[:2] for job in jobs] == [
        ("source=scratch", "target=synthetic_ball"),
        ("source=synthetic_drop", "target=synthetic_ball"),
    ]
    assert all(len(job.keys) == 2 for job in jobs)
    assert len({key for job in jobs for key in job.keys}) == 4


def test_the_longest_pre_training_comes_first(planner):
    jobs = planner().pretrain()
    work = [job.work for job in jobs]
    assert work == sorted(work, reverse=True)
    assert {job.overrides[0] for job in jobs[-2:]} == {"source=scratch", "source=scratch_wide"}


def test_every_task_is_prepared(planner):
    assert [job.overrides for job in planner().prepare()] == [
        ("task=synthetic_ball",), ("task=synthetic_pebble",), ("task=synthetic_drop",),
    ]  # fmt: skip


def test_a_further_truth_that_equals_the_study_s_is_not_planned_twice(planner):
    same = "suite.beside=[{target: synthetic_ball, seeds: [0], overrides: ['trainer.tune=all']}]"
    once, twice = planner("trainer.tune=all").truth(), planner("trainer.tune=all", same).truth()
    assert [job.keys for job in once] == [job.keys for job in twice]
    assert len(planner(same).truth()) == len(once) + 4


def test_a_further_truth_that_tunes_the_same_part_by_other_settings_is_refused(planner):
    further = "suite.beside=[{target: synthetic_ball, seeds: [0], overrides: ['trainer.budget.steps=5']}]"
    with pytest.raises(InputError, match=r"suite\.beside must tune another part .* synthetic_ball .* tunes decoder"):
        planner(further).truth()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["suite.patch=[32,32,24]"], r"msd_liver_unetr: .* 3 sides that are multiples of 16, got \[32, 32, 24\]"),
        (["suite.patch=[32,32]"], r"3 sides that are multiples of 16, got \[32, 32\]"),
        (["suite.steps.fine_tuning=0"], r"trainer\.budget\.epochs must be a whole number of at least 1, got 0"),
        (["suite.steps.pretraining=300"], r"got 1\.2: steps must be a multiple of the 250 iterations of an epoch"),
        (["suite.iterations=0"], r"trainer\.budget\.iterations must be a whole number of at least 1, got 0"),
        (["trainer.tune=most"], r"trainer\.tune must be one of all, decoder, last, head, got most"),
        (["trainer=monai", "trainer.tune=null"], r"trainer\.tune must be one of all, .*, got None"),
        (["trainer=monai", "trainer.amp=half"], r"trainer\.amp must be null, false, float32 or bfloat16, got half"),
    ],
)
def test_settings_that_only_jobs_would_refuse_are_refused_before(planner, overrides, message):
    chosen = ["experiment=paper", *overrides]
    plan = Planner(compose("bench", chosen).suite, {"pretrain": chosen, "truth": chosen})
    with pytest.raises(InstantiationException) as refused:
        plan.check()
    assert re.search(message, message_of(refused.value))
    assert "InputError" not in message_of(refused.value)


def test_monai_trains_any_number_of_steps(planner):
    steps = "suite.steps={pretraining:3,fine_tuning:3}"
    chosen = ["experiment=paper", "trainer=monai", "suite.pretrainer=null", steps]
    plan = Planner(compose("bench", chosen).suite, {"pretrain": chosen, "truth": chosen})
    plan.check()
    assert resolved(compose("correlate", chosen))["trainer"]["budget"]["steps"] == 3
