"""What all tasks share."""

import pytest

from benchmark.data.tasks.task import class_names


@pytest.mark.parametrize("spelling", ["Ball", " ball ", "BALL"])
def test_class_names_are_one_whatever_their_spelling(spelling):
    assert class_names({0: "background", 1: spelling}) == {"ball"}
    assert class_names({0: "background", 1: "Left_Kidney", 2: "left  kidney", 3: "left-kidney"}) == {"left kidney"}
