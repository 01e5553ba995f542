"""The further jobs of a suite: longer training from scratch, and sources that are pre-trained again."""

from dataclasses import replace

import pytest

from benchmark.errors import InputError
from benchmark.orchestration.further_jobs import check_further, further_jobs
from benchmark.orchestration.pipeline import with_further

TARGETS = ("synthetic_ball", "synthetic_pebble")
CHOSEN = ("suite.longer={factor:4,seeds:[0]}", "suite.repeated={sources:[synthetic_drop,synthetic_ball],seeds:[1,2]}")


def overrides_of(jobs):
    return [job.overrides for job in jobs]


def keys_of(jobs):
    return {key for job in jobs for key in job.keys}


@pytest.fixture(scope="module")
def chosen(planner):
    """The planner of a suite with longer and repeated training, and its further jobs."""
    plan = planner(*CHOSEN)
    return plan, further_jobs(plan)


def test_only_networks_from_scratch_are_trained_longer(chosen):
    assert overrides_of(chosen[1]["longer"]) == [
        (f"source={source}", f"target={target}", "seeds=[0]", "trainer.budget.steps=12", "variant=longer")
        for target in TARGETS
        for source in ("scratch", "scratch_wide")
    ]


def test_longer_training_multiplies_the_epochs_of_nnu_net_s_trainer(planner):
    nnunet = ("trainer=nnunet", "nnunet.epochs=3", "nnunet.iterations=2")
    plan = planner("suite.longer={factor:4,seeds:[0]}", "suite.repeated=null", "suite.sources=[scratch]", *nnunet)
    assert {job.overrides[3] for job in further_jobs(plan)["longer"]} == {"trainer.budget.epochs=12"}


def test_longer_runs_have_other_keys_than_those_of_the_study(chosen):
    plan, further = chosen
    longer = keys_of(further["longer"])
    assert len(longer) == 4
    assert not longer & keys_of(plan.truth())
    as_long = [job for target in TARGETS for job in plan.tuned(target, [0], ["trainer.budget.steps=12"])]
    assert not longer & keys_of(as_long)  # a study of as many steps has runs of its own, without the tag


def test_a_longer_training_takes_longer(chosen):
    plan, further = chosen
    of_study = {job.overrides[:2]: job.work / 2 for job in plan.truth()}  # two seeds
    assert all(job.work > of_study[job.overrides[:2]] for job in further["longer"])


def test_repeated_sources_are_scored_and_tuned_where_their_pool_has_the_source(chosen):
    jobs = chosen[1]
    repeats = [(name, seed) for name in ("synthetic_drop", "synthetic_ball") for seed in (1, 2)]
    choices = {repeat: (f"source={repeat[0]}", f"source.name={repeat[0]}_seed{repeat[1]}", f"source.seed={repeat[1]}")
               for repeat in repeats}  # fmt: skip
    assert overrides_of(jobs["repeated_pretrain"]) == list(choices.values())
    pairs = [(*choice, f"target={target}") for target in TARGETS for (name, _), choice in choices.items()
             if name != target]  # fmt: skip
    assert overrides_of(jobs["repeated_truth"]) == [(*pair, "seeds=[0,1]") for pair in pairs]
    assert overrides_of(jobs["repeated_score"]) == pairs


def test_a_repeated_source_has_the_keys_of_its_name_on_the_command_line(planner, chosen):
    """`source=synthetic_drop_seed1` is a choice, as every source of the suite is."""
    named = planner("suite.sources=[synthetic_drop_seed1]")
    assert named.pretrained["synthetic_drop_seed1"] in keys_of(chosen[1]["repeated_pretrain"])
    assert keys_of(named.truth()) <= keys_of(chosen[1]["repeated_truth"])
    assert keys_of(named.score()) <= keys_of(chosen[1]["repeated_score"])


def test_the_pools_of_the_study_lack_repeated_sources(planner, chosen):
    without = planner("suite.longer=null", "suite.repeated=null")
    assert chosen[0].pools == without.pools
    assert further_jobs(without) == {}


def test_further_jobs_come_after_those_of_their_stage(chosen):
    plan, further = chosen
    own = plan.after_prepare()
    stages = with_further(own, further)
    assert list(stages) == ["pretrain", "truth", "score"]
    assert stages["pretrain"] == [*own["pretrain"], *further["repeated_pretrain"]]
    assert stages["truth"] == [*own["truth"], *further["longer"], *further["repeated_truth"]]
    assert stages["score"] == [*own["score"], *further["repeated_score"]]


def test_a_source_that_is_not_chosen_is_not_repeated(planner):
    jobs = further_jobs(planner(*CHOSEN, "suite.sources=[scratch]"))
    assert [kind for kind, planned in jobs.items() if planned] == ["longer"]


def test_a_truth_from_a_table_has_no_further_jobs(chosen):
    assert further_jobs(replace(chosen[0], fine_tuned=False)) == {}


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("sources", "seeds", "message"),
    [
        ("[nobody]", "[1]", r"suite\.repeated\.sources must name sources of the suite, got nobody"),
        ("[scratch]", "[1]", r"suite\.repeated\.sources must name sources that are pre-trained, got scratch"),
        ("[synthetic_drop]", "[2,0]", r"must differ from the seed of each source, got 0, that of synthetic_drop"),
    ],
)
def test_sources_that_cannot_be_repeated_are_refused(planner, sources, seeds, message):
    few = "suite.sources=[scratch,synthetic_drop]"
    with pytest.raises(InputError, match=message):
        check_further(planner(few, f"suite.repeated={{sources:{sources},seeds:{seeds}}}"))


@pytest.mark.bad_input
def test_settings_without_meaning_are_refused(planner):
    with pytest.raises(InputError, match=r"suite\.longer\.factor must be a number above 1, got 1"):
        check_further(planner("suite.longer.factor=1"))
