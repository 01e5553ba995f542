"""Settings that are either true or false."""

import pytest

from benchmark.errors import InputError
from benchmark.ranking.switches import check_switches


@pytest.mark.bad_input
@pytest.mark.parametrize("value", ["flase", 1, None, "true"])
def test_what_is_neither_true_nor_false_is_refused(value):
    check_switches({"links": False})
    with pytest.raises(InputError, match=f"trust must be true or false, got {value}"):
        check_switches({"links": True, "trust": value})
