"""Artifacts of other stores; a store that is away is named in a few words."""

import pytest

from benchmark.errors import InputError
from benchmark.tracking.artifacts import fetch_artifact


def test_a_server_that_does_not_answer(tmp_path):
    message = r"the artifact runs:/1/a from http://127\.0\.0\.1:9 \(tracking\.uri\): the server does not answer$"
    with pytest.raises(InputError, match=message):
        fetch_artifact("runs:/1/a", tmp_path, uri="http://127.0.0.1:9")
