"""Class-wise moments of features about each class mean, up to the fourth order that Ledoit-Wolf shrinkage needs.

For the n_c rows x of class c, with mean m_c and u = x - m_c:

    count n_c,  mean m_c,  scatter sum u u',  cubes sum |u|^2 u,  quartics sum |u|^4

With cubes and quartics, sum |x - a|^4 is exact about any centre a, so two sets of moments merge without the rows
(Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979, extended here
to third and fourth order).
"""

from dataclasses import dataclass

from torch import Tensor

from benchmark.core.backend import Backend, resolve_backend
from benchmark.core.labels import check_labels
from benchmark.core.moments import reference


@dataclass(frozen=True)
class Moments:
    """Moments of k classes in d dimensions.

    Attributes:
        count: (k,) int64.
        mean: (k, d) float64, 0 for a class without rows.
        scatter: (k, d, d) float64, sum of (x - mean)(x - mean)'.
        cubes: (k, d) float64, sum of |x - mean|^2 (x - mean).
        quartics: (k,) float64, sum of |x - mean|^4.
    """

    count: Tensor
    mean: Tensor
    scatter: Tensor
    cubes: Tensor
    quartics: Tensor


def class_moments(features: Tensor, labels: Tensor, k: int, *, backend: Backend = "auto") -> Moments:
    """Compute the moments of each class, exact to float64 rounding for any offset of the features.

    Rows are processed in blocks; each is centred by its own mean in float64 before anything is squared, then merged, so
    a shared offset of 1000 loses no digits. The Gram matrix of a block is float64 too: in float32 its error is 1e-7 of
    the variance per entry, which an inverse covariance multiplies by its condition number. At the width of a
    segmentation head's input (32), float64 takes well under a tenth of a forward pass.

    Args:
        features: (n, d) floating point, any strides.
        labels: (n,) integers in 0 .. k - 1.
        k: number of classes.
        backend: "auto", "torch" or "triton".

    Returns:
        Float64 moments on the device of the features; NaN in the channels with NaN or inf.

    Raises:
        ValueError: if a shape, a type or a label is invalid, or the backend cannot run on the device.

    Example:
        >>> import torch
        >>> moments = class_moments(torch.tensor([[1.0], [3.0], [7.0]]), torch.tensor([0, 0, 1]), 3)
        >>> moments.count.tolist(), moments.mean.ravel().tolist(), moments.scatter.ravel().tolist()
        ([2, 1, 0], [2.0, 7.0, 0.0], [2.0, 0.0, 0.0])
    """
    if features.ndim != 2 or not features.is_floating_point():
        raise ValueError(
            f"`features` must be floating point of shape (n, d), got {features.dtype} {tuple(features.shape)}"
        )
    check_labels(labels, features.shape[0], k)
    if resolve_backend(backend, features.device) == "triton":
        from benchmark.core.moments import triton_kernel

        return Moments(*triton_kernel.class_moments(features, labels, k))
    return Moments(*reference.class_moments(features, labels, k))


def merge_moments(a: Moments, b: Moments) -> Moments:
    """Merge two sets of moments; equal to one pass over all rows up to float64 rounding.

    Raises:
        ValueError: if k or d differ.

    Example:
        >>> import torch
        >>> rows, labels = torch.tensor([[1.0], [3.0], [8.0]]), torch.tensor([0, 0, 0])
        >>> parts = class_moments(rows[:1], labels[:1], 1), class_moments(rows[1:], labels[1:], 1)
        >>> merge_moments(*parts).scatter.item() == class_moments(rows, labels, 1).scatter.item()
        True
    """
    if a.mean.shape != b.mean.shape:
        raise ValueError(f"`b` must have the (k, d) of `a`, {tuple(a.mean.shape)}, got {tuple(b.mean.shape)}")
    return Moments(*reference.merge(list(vars(a).values()), list(vars(b).values())))
