"""When a call of the store is repeated."""

import contextlib

import pytest
from mlflow.exceptions import RestException

from benchmark.tracking.retries import patiently


@pytest.mark.parametrize(
    ("message", "calls"),
    [("QueuePool limit of size 5 overflow 10 reached, connection timed out", 2), ("no such run", 1)],
)
def test_a_server_without_a_free_connection_is_asked_again(message, calls):
    """It answers BAD_REQUEST then, as it does to what is really bad."""
    messages = []

    def call():
        messages.append(message)
        if len(messages) == 1:
            raise RestException({"error_code": "BAD_REQUEST", "message": message})
        return "answer"

    with contextlib.nullcontext() if calls == 2 else pytest.raises(RestException, match=message):
        assert patiently(call, seconds=10.0, hint="the store must answer") == "answer"
    assert len(messages) == calls
