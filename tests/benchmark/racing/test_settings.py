"""Settings of a race that break a rule are refused in one line, before anything runs."""

import pytest

from benchmark.errors import InputError
from benchmark.racing.settings import SETTINGS, check_preparation, check_settings

SOUND = dict.fromkeys(SETTINGS) | {
    "trust": False, "links": False, "stop": False, "dry_run": False, "prior": "ranking", "workers": 2, "budget": 0.45,
    "split_seed": 0, "seeds": 1, "given": {"task": "mine", "source": ["a"]}, "rank": [],
    "preparation": {"intensities": "source", "spacing": "target"}, "trainer": {"_target_": "x"},
}  # fmt: skip
STORED = {"given": {"task": None, "source": None}, "ranking": "x.json"}

BAD = [
    ({"stop": "flase"}, "stop must be true or false, got flase"),
    ({"trust": "flase"}, "trust must be true or false, got flase"),
    ({"links": 1}, "links must be true or false, got 1"),
    ({"dry_run": "maybe"}, "dry_run must be true or false, got maybe"),
    ({"prior": "luck"}, "prior must be ranking or none, got luck"),
    ({"retry": "all"}, "retry must be failed or null, got all"),
    *(
        ({"split_seed": value}, f"split_seed must be a whole number of at least 0, got {value}")
        for value in (None, "abc", -1, 1.5, True)
    ),
    *(({"fold": value}, "fold must be a whole number of at least 0 or null") for value in (-1, True, "a")),
    ({"keep": 0}, "keep must be a whole number of at least 1 or null, got 0"),
    ({"workers": None}, "workers must be a whole number of at least 1, got None"),
    ({"budget": 2}, "budget must be a share above 0 and at most 1, got 2"),
    ({"validation_share": 1}, "validation_share must be a share between 0 and 1 or null, got 1"),
    *(({"seeds": value}, "seeds must be a number") for value in (0, [], [1, 1], [[1], [2]], [{"a": 1}], [-1], True)),
    *(({"register": value}, "register must be a name") for value in ("a/b", "a:b", "", " ", ".", "..", "..a", 5)),
    ({"folds": 123}, "folds must be the path of a file or null, got 123"),
    ({"folds": ["a"]}, "folds must be the path of a file or null, got ['a']"),
    ({"ranking": 123}, "ranking must be the path of a file or null, got 123"),
    ({"rank": "minutes=5"}, "rank must be a list of settings"),
    ({"preparation": {"spacing": "foo"}}, "preparation.spacing must be one of source, target, got foo"),
    ({"preparation": {"spacing": ["source"]}}, "preparation.spacing must be one of source, target"),
    ({"preparation": {"colour": "source"}}, "preparation must have the settings intensities and spacing"),
    ({"preparation": None}, "preparation must have the settings intensities and spacing"),
    ({"trainer": None}, "trainer must be a name in conf/trainer, such as monai or nnunet, got None"),
    ({"trainer": "monai"}, "trainer must be a name in conf/trainer, such as monai or nnunet, got monai"),
    ({"ranking": "x.json"}, "ranking=x.json already names a task and sources"),
    (STORED | {"rank": ["minutes=5"]}, "rank is a setting of a new ranking and does not apply with ranking=x.json"),
    (STORED | {"links": True}, "links is a setting of a new ranking and does not apply with ranking=x.json"),
]


@pytest.mark.bad_input
@pytest.mark.parametrize(("given", "message"), BAD)
def test_a_setting_that_breaks_its_rule_is_named(given, message):
    with pytest.raises(InputError) as raised:
        check_settings(SOUND | given)
    assert message in str(raised.value)


@pytest.mark.parametrize("given", [{}, STORED, {"register": "é(x) it's", "seeds": [3, 0], "keep": 1, "fold": 0}])
def test_what_is_right_passes(given):
    check_settings(SOUND | given)


def test_a_file_with_another_preparation_is_named():
    with pytest.raises(InputError, match=r"x\.json: preparation\.spacing must be one of source, target, got 1"):
        check_preparation({"spacing": 1}, path="x.json")
