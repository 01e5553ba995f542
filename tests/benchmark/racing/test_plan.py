"""The plan of a race: its file, its validation cases, and the candidates of a ranking."""

import json

import pytest

from benchmark.data.tasks.task import Split
from benchmark.errors import InputError
from benchmark.racing import plan as module
from benchmark.racing.plan import RacePlan, read_ranking, with_validation

PLAN = RacePlan(
    {"name": "mine"}, {"b": {"path": "b.pt"}, "a": {"path": "a.pt"}}, {"spacing": "source"}, {"tune": "all"}
)
NODE = {"_target_": "x"}
RANKING = {"ranking": [{"source": "a"}], "cannot_be_told_apart": ["a"], "sources": {"a": NODE},
           "skipped": {"b": "no file"}, "settings": {"task": NODE}}  # fmt: skip


class Folder:
    """A task of one's own, with so many labelled cases."""

    name, folder = "mine", "/mine"

    def __init__(self, count):
        self.count = count

    def labelled_cases(self):
        return list(range(self.count))

    def names(self, split):
        assert split == Split.VALIDATION


class Embedded:
    """A task with validation cases of its own."""

    name = "ball"

    def has(self, split):
        return split == Split.VALIDATION


@pytest.fixture
def validation(monkeypatch):
    """The config of a task with validation cases, or the error."""

    def make(task, *, share=None, folds=None, fold=None):
        monkeypatch.setattr(module, "instantiate", lambda node: task)
        return with_validation({"name": "mine"}, share=share, seed=0, folds=folds, fold=fold)

    return make


def test_a_plan_is_read_as_it_was_written_with_the_candidates_in_order(tmp_path):
    path = tmp_path / "race" / "plan.json"
    PLAN.write(path)
    assert RacePlan.read(path) == PLAN
    assert list(RacePlan.read(path).candidates) == ["b", "a"]


@pytest.mark.parametrize(
    "content", [{}, [], {"candidates": 3}, {"candidates": [], "colour": "red"}, {"candidates": [1]}]
)
def test_a_file_that_is_no_plan_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(InputError, match=r"plan\.json is not a plan of benchmark\.race \(.+\); run the race again"):
        RacePlan.read(path)


@pytest.mark.parametrize(("count", "cases"), [(2, 1), (9, 2), (10, 5), (40, 8)])
def test_by_default_a_fifth_of_the_cases_is_for_validation_and_enough_for_an_interval(validation, count, cases):
    assert round(validation(Folder(count))["test_share"] * count) == cases


def test_a_share_that_leaves_no_training_case_is_named(validation):
    with pytest.raises(InputError, match=r"validation_share=0\.9 leaves no training case of 4; choose a smaller share"):
        validation(Folder(4), share=0.9)
    with pytest.raises(InputError, match="task mine has 1 labelled case; a race needs at least 2"):
        validation(Folder(1))
    assert validation(Folder(4), share=0.75)["test_share"] == 0.75


@pytest.mark.parametrize("other", [{"fold": 0}, {"folds": "mine.json"}])
def test_a_share_does_not_apply_where_a_fold_names_the_validation_cases(validation, other):
    with pytest.raises(InputError, match="so validation_share does not apply; give either"):
        validation(Folder(4), share=0.5, **other)


@pytest.mark.parametrize("setting", [{"share": 0.2}, {"fold": 0}, {"folds": "mine.json"}])
def test_a_task_with_validation_cases_of_its_own_takes_no_split(validation, setting):
    name = {"share": "validation_share"}.get(*setting, *setting)
    with pytest.raises(InputError, match=f"validation cases of its own, so {name} does not apply"):
        validation(Embedded(), **setting)
    assert validation(Embedded()) == {"name": "mine"}


def test_a_ranking_of_trusted_sources_needs_trust_again(tmp_path):
    path = tmp_path / "ranking.json"
    path.write_text(json.dumps(RANKING | {"sources": {"a": NODE, "b": NODE | {"trust": True}}}), encoding="utf-8")
    with pytest.raises(InputError, match=r"made with trust=true, so that b may .* give trust=true to race it"):
        read_ranking(path, trust=False)
    assert read_ranking(path, trust=True)["cannot_be_told_apart"] == ["a"]
    path.write_text(json.dumps(RANKING), encoding="utf-8")
    assert read_ranking(path, trust=False) == RANKING


DAMAGED = {
    "ranking": [None, 3, [1], [{"name": "a"}]],
    "cannot_be_told_apart": [None, "a", [1]],
    "sources": [None, ["a"], {"a": {}}, {"a": 1}],
    "skipped": [None, ["a"]],
    "settings": [None, {}, {"task": "mine"}, {"task": {}}],
}


@pytest.mark.bad_input
@pytest.mark.parametrize(("part", "value"), [(part, value) for part, values in DAMAGED.items() for value in values])
def test_a_damaged_ranking_is_refused_by_its_part(tmp_path, part, value):
    path = tmp_path / "ranking.json"
    path.write_text(json.dumps(RANKING | {part: value}), encoding="utf-8")
    with pytest.raises(InputError, match=rf"ranking\.json is not a ranking\.json .* damaged in {part}; run benchmark"):
        read_ranking(path, trust=True)


@pytest.mark.bad_input
def test_a_list_is_no_ranking_and_its_preparation_is_checked(tmp_path):
    path = tmp_path / "ranking.json"
    path.write_text("[1]", encoding="utf-8")
    with pytest.raises(InputError, match=r"or is damaged; run benchmark\.rank again"):
        read_ranking(path, trust=False)
    path.write_text(json.dumps(RANKING | {"settings": {"task": NODE, "preparation": {"spacing": 1}}}), encoding="utf-8")
    with pytest.raises(InputError, match=r"ranking\.json: preparation\.spacing must be one of source, target, got 1"):
        read_ranking(path, trust=False)
