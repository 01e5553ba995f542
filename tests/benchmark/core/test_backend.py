"""The backend goes by device only; what cannot run raises."""

import pytest

from benchmark.core.backend import resolve_backend


def test_auto_is_torch_on_a_cpu():
    assert resolve_backend("auto", "cpu") == "torch"


def test_torch_runs_anywhere():
    assert resolve_backend("torch", "cuda") == "torch"


def test_an_explicit_backend_that_cannot_run_raises(monkeypatch):
    monkeypatch.setattr("benchmark.core.backend._interprets", lambda: False)
    with pytest.raises(ValueError, match='`backend` "triton" must run on a CUDA device, got cpu'):
        resolve_backend("triton", "cpu")


def test_auto_is_triton_on_cuda_where_it_is_installed(monkeypatch):
    monkeypatch.setattr("benchmark.core.backend._has_triton", lambda: True)
    assert resolve_backend("auto", "cuda") == "triton"
    monkeypatch.setattr("benchmark.core.backend._has_triton", lambda: False)
    assert resolve_backend("auto", "cuda") == "torch"
    with pytest.raises(ValueError, match="Triton is not installed"):
        resolve_backend("triton", "cuda")
