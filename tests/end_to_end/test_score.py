"""`python -m benchmark.score` case by case: resumed after a kill, one case mended, a broken case found first."""

import shutil

import pytest

from benchmark.features.stream import reduce_stream
from benchmark.scoring import passes

METRICS = "metric=[ccfv,logme,leep,crank,otce,tlc,topote]"
SCORES = ("ccfv", "logme", "leep", "crank", "otce", "tlc", "topote")


@pytest.fixture
def score(study, command_line):
    """Scores a source that knows its own data on synthetic balls."""
    more = ["experiment=synthetic", *study.overrides]
    assert command_line("pretrain", "source=synthetic_drop", *more).code == 0

    def run(*overrides):
        return command_line("score", "source=synthetic_drop", "target=synthetic_ball", METRICS, *more, *overrides)

    return run


@pytest.fixture
def forwarded(monkeypatch):
    """The names of the cases that go through a network; `stop` in it makes that many the last."""
    names = []

    def counting(network, taps, cases, *rest, **named):
        if len(names) == getattr(counting, "stop", None):
            raise KeyboardInterrupt
        names.append(cases[0].name)
        return reduce_stream(network, taps, cases, *rest, **named)

    monkeypatch.setattr(passes, "reduce_stream", counting)
    return names, counting


def last(study):
    return list(study.store().finished("score").values())[-1]


def test_a_killed_job_resumes_and_a_mended_case_costs_one_case(study, score, forwarded):
    names, counting = forwarded
    counting.stop = 2
    done = score()
    assert done.code == 130
    assert done.err.splitlines()[-1] == "interrupted: what is finished is kept, run again to resume"
    counting.stop = None
    assert score().code == 0
    of_target = [f"synthetic_ball_train_{index:02d}" for index in range(4)]
    assert names[:4] == of_target  # each once, over both runs
    assert names[4:8] == of_target  # perturbed, for CRank
    own = set(names[8:])  # the source's, for OTCE
    assert len(names) == 8 + len(own)
    before = last(study)

    folder = study.task("synthetic_ball")
    for kind in ("image", "label"):  # mended: by a case of the test split
        other = folder / f"{kind}sTs/synthetic_ball_test_00.nii.gz"
        shutil.copy(other, folder / f"{kind}sTr/synthetic_ball_train_02.nii.gz")
    names.clear()
    assert score().code == 0
    assert names == ["synthetic_ball_train_02"] * 2
    mended = last(study)
    assert mended.tags["statistics"] == "computed"
    assert mended.metrics["logme"] != before.metrics["logme"]
    shutil.rmtree(study.folder / "outputs/passes")
    names.clear()
    assert score("stream.cases=4").code == 0  # the same cases under another key
    assert len(names) == 8 + len(own)
    anew = last(study)
    assert anew.key != mended.key
    assert {name: anew.metrics[name] for name in SCORES} == {name: mended.metrics[name] for name in SCORES}


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_score_reads_no_case_on_which_a_fine_tuning_is_measured(study, score, split):
    """Neither those of the truth nor those by which a fine-tuning could be chosen."""
    assert score().code == 0
    before = last(study)
    paths = list(study.task("synthetic_ball").rglob(f"synthetic_ball_{split}_*.nii.gz"))
    assert len(paths) == 4
    for path in paths:
        path.write_bytes(b"no image")
    assert score().code == 0
    after = last(study)
    assert after.key != before.key  # it is another data set, which was scored
    assert {name: after.metrics[name] for name in SCORES} == {name: before.metrics[name] for name in SCORES}


@pytest.mark.bad_input
def test_a_broken_last_case_is_found_before_the_first_pass(study, score, forwarded):
    names, _ = forwarded
    images = sorted((study.task("synthetic_ball") / "imagesTr").glob("synthetic_ball_train_*"))
    for image in images[-2:]:
        image.write_bytes(image.read_bytes()[:-20])
    done = score()
    assert done.code == 2
    line = done.err.splitlines()[-1]
    assert line.startswith(f"error: cannot read {images[-2]} as NIfTI: ")
    assert line.endswith(" (1 further broken case: synthetic_ball_train_03)")
    assert names == []
