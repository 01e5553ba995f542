"""Joint histogram of a target's labels and a source's predictions, soft and hard.

soft[c, z] = sum over rows of class c of P_z        hard[c, z] = number of rows of class c whose argmax is z

Sums are float64, because a float32 sum of a million probabilities keeps only four digits.
"""

from dataclasses import dataclass

from torch import Tensor

from benchmark.core.backend import Backend, resolve_backend
from benchmark.core.joint_histogram import reference
from benchmark.core.labels import check_labels


@dataclass(frozen=True)
class Joint:
    """A joint histogram.

    Attributes:
        soft: (k, z) float64, sums of probabilities.
        hard: (k, z) float64, counts of the most probable source class (the smallest on ties); NaN for a source class
            with NaN or inf.
    """

    soft: Tensor
    hard: Tensor


def joint_histogram(probabilities: Tensor, labels: Tensor, k: int, *, backend: Backend = "auto") -> Joint:
    """Compute the soft and hard joint histogram of labels and predictions.

    Args:
        probabilities: (n, z) floating point, any strides.
        labels: (n,) integers in 0 .. k - 1.
        k: number of target classes.
        backend: "auto", "torch" or "triton".

    Returns:
        The histogram, on the device of the probabilities.

    Raises:
        ValueError: if a shape, a type or a label is invalid, or the backend cannot run on the device.

    Example:
        >>> import torch
        >>> joint = joint_histogram(torch.tensor([[0.75, 0.25], [0.5, 0.5]]), torch.tensor([1, 1]), 2)
        >>> joint.soft.tolist(), joint.hard.tolist()
        ([[0.0, 0.0], [1.25, 0.75]], [[0.0, 0.0], [2.0, 0.0]])
    """
    if probabilities.ndim != 2 or probabilities.shape[1] == 0 or not probabilities.is_floating_point():
        shape = tuple(probabilities.shape)
        raise ValueError(f"`probabilities` must be floating point of shape (n, z), got {probabilities.dtype} {shape}")
    check_labels(labels, probabilities.shape[0], k)
    if resolve_backend(backend, probabilities.device) == "triton":
        from benchmark.core.joint_histogram import triton_kernel

        return Joint(*triton_kernel.joint_histogram(probabilities, labels, k))
    return Joint(*reference.joint_histogram(probabilities, labels, k))
