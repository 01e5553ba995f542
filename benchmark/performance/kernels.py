"""Rows on the operations of `benchmark.core` that run differently on a CUDA device: Triton kernels and Wasserstein-2.

Each is compared with the torch reference on the same device, in time, and with the reference in float64 on the CPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from torch import Tensor

from benchmark.core.backend import Backend
from benchmark.core.energy import riesz_energy
from benchmark.core.gather import gather
from benchmark.core.joint_histogram import joint_histogram
from benchmark.core.moments import class_moments
from benchmark.core.wasserstein import Method, factor_samples, pairwise_wasserstein2
from benchmark.performance.measurement import Check, Measurement, TimedRow

Values: TypeAlias = list[Tensor]
# (sizes, generator) -> inputs on the CPU, the first of which is made float64 for the exact values
Inputs: TypeAlias = Callable[[Mapping[str, int], torch.Generator], Values]


@dataclass(frozen=True)
class Operation:
    """An operation with a fast backend for CUDA devices.

    Attributes:
        inputs: Draws the inputs.
        compute: (inputs, backend) -> results.
        fast: Backend that is measured.
        plain: Backend that it is compared with.
        tolerance: Maximum error, relative to the largest entry of a result.
    """

    inputs: Inputs
    compute: Callable[[Values, str], Values]
    fast: str = "triton"
    plain: str = "torch"
    tolerance: float = 1e-10  # float64 sums of a million terms, added in different orders


@dataclass(frozen=True, kw_only=True)
class KernelRow(TimedRow):
    """A kernel's time over that of the torch reference on the same device, with the errors of both.

    Attributes:
        operation: Key of OPERATIONS.
        sizes: Sizes of the inputs, by the letters that the operation's own documentation uses.
    """

    rule = "at most"
    operation: str
    sizes: Mapping[str, int]

    def measure(self, device: str) -> Measurement:
        """Compare both with the reference in float64 on the CPU, which also compiles the kernel, and time both."""
        operation = OPERATIONS[self.operation]
        inputs = operation.inputs(self.sizes, torch.Generator().manual_seed(0))
        placed = [tensor.to(device) for tensor in inputs]
        exact = operation.compute([inputs[0].double(), *inputs[1:]], operation.plain)
        checks = {
            backend: Check(_error(operation.compute(placed, backend), exact), operation.tolerance)
            for backend in (operation.fast, operation.plain)
        }
        timed = self._time(
            lambda: operation.compute(placed, operation.fast),
            lambda: operation.compute(placed, operation.plain),
            device,
        )
        return self._measurement(timed, device, checks=checks)


def _error(computed: Sequence[Tensor], exact: Sequence[Tensor]) -> float:
    """Largest difference of each result, relative to its largest entry; the largest of all."""
    errors = [
        float((ours.double().cpu() - theirs).abs().max() / theirs.abs().max())
        for ours, theirs in zip(computed, exact, strict=True)
    ]
    return max(errors)


def _samples(sizes: Mapping[str, int], generator: torch.Generator) -> Values:
    """Features (n, d) far from the origin, and labels (n,) of k classes."""
    features = torch.randn(sizes["n"], sizes["d"], generator=generator) + 10.0
    return [features, torch.randint(sizes["k"], (sizes["n"],), generator=generator)]


def _moments(inputs: Values, backend: str) -> Values:
    features, labels = inputs
    moments = class_moments(features, labels, int(labels.max()) + 1, backend=cast("Backend", backend))
    return [moments.mean, moments.scatter, moments.cubes, moments.quartics]


def _softmax(sizes: Mapping[str, int], generator: torch.Generator) -> Values:
    """Softmax (n, z) and labels (n,) of k classes."""
    logits = torch.randn(sizes["n"], sizes["z"], generator=generator)
    return [logits.softmax(dim=1), torch.randint(sizes["k"], (sizes["n"],), generator=generator)]


def _joint_histogram(inputs: Values, backend: str) -> Values:
    softmax, labels = inputs
    joint = joint_histogram(softmax, labels, int(labels.max()) + 1, backend=cast("Backend", backend))
    return [joint.soft, joint.hard]


def _map_and_points(sizes: Mapping[str, int], generator: torch.Generator) -> Values:
    """A map (d, m, m, m) of a volume of 4 m voxels along each axis, and points (n, 3)."""
    features = torch.randn(sizes["d"], *[sizes["m"]] * 3, generator=generator)
    return [features, torch.randint(4 * sizes["m"], (sizes["n"], 3), generator=generator)]


def _gather(inputs: Values, backend: str) -> Values:
    features, points = inputs
    return [gather(features, points, [4 * side for side in features.shape[1:]], backend=cast("Backend", backend))]


def _points(sizes: Mapping[str, int], generator: torch.Generator) -> Values:
    """Points (n, d) on the unit sphere."""
    return [torch.nn.functional.normalize(torch.randn(sizes["n"], sizes["d"], generator=generator))]


def _energy(inputs: Values, backend: str) -> Values:
    return [torch.tensor(riesz_energy(inputs[0], backend=cast("Backend", backend)), dtype=torch.float64)]


def _sets(sizes: Mapping[str, int], generator: torch.Generator) -> Values:
    """Samples (m, n, d) of m sets with means and scales of their own."""
    shape = (sizes["m"], sizes["n"], sizes["d"])
    scales = torch.rand(shape[0], 1, shape[2], generator=generator) + 0.1
    return [torch.randn(shape, generator=generator) * scales + torch.randn(shape[0], 1, shape[2], generator=generator)]


def _wasserstein(inputs: Values, method: str) -> Values:
    return [pairwise_wasserstein2([factor_samples(rows) for rows in inputs[0]], method=cast("Method", method))]


OPERATIONS = {
    "moments": Operation(_samples, _moments),
    "joint_histogram": Operation(_softmax, _joint_histogram),
    "gather": Operation(_map_and_points, _gather, tolerance=1e-6),  # float32 results
    "energy": Operation(_points, _energy, tolerance=1e-8),  # distances to 1e-9
    "wasserstein": Operation(_sets, _wasserstein, fast="newton_schulz", plain="eigen", tolerance=2e-10),  # 1e-10 each
}
