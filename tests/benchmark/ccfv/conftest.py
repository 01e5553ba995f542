"""Sampled layers drawn at random."""

import pytest
import torch

from benchmark.statistics import LayerSamples


@pytest.fixture
def make_layer():
    """Builds a layer: `make_layer(m=4, k=2, n=30, d=6, apart=1.0)`; case i of class c has its mean at apart * i + c."""

    def make(*, m=4, k=2, n=30, d=6, apart=1.0, seed=0, scale=1.0, offset=0.0):
        draw = torch.Generator().manual_seed(seed)
        rows = lambda i, c: torch.randn(n + i, d, generator=draw, dtype=torch.float64) + apart * i + c  # noqa: E731
        cases = [{c: rows(i, c) * scale + offset for c in range(k + 1)} for i in range(m)]
        return LayerSamples(cases, [torch.cat(list(case.values())) for case in cases])

    return make
