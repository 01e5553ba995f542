"""Trilinear interpolation of a low-resolution feature map at given voxels, without upsampling the map.

A voxel at p in a volume of size N maps to u = max((p + 1/2) M / N - 1/2, 0) in a map of size M. Its value is the mean
of the corners floor(u) and floor(u) + 1 (clamped to M - 1), weighted linearly by proximity. This equals trilinear
interpolation to size N with align_corners=False, followed by indexing.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmark.core.backend import Backend, resolve_backend
from benchmark.core.gather import reference
from benchmark.core.gather.reference import interpolate_box as interpolate_box


def gather(features: Tensor, points: Tensor, size: Sequence[int], *, backend: Backend = "auto") -> Tensor:
    """Interpolate features at points.

    Args:
        features: (d, *map) floating point, a map of a volume in one to three spatial dimensions.
        points: (n, dims) int64 voxel coordinates, 0 <= points < size.
        size: number of voxels of the volume along each axis.
        backend: "auto", "torch" or "triton".

    Returns:
        (n, d) float32; float64 for a float64 map, which always uses the reference.

    Raises:
        ValueError: if a shape, a type or a point is invalid, or the backend cannot run on the device.

    Example:
        >>> import torch
        >>> gather(torch.tensor([[0.0, 4.0]]), torch.tensor([[0], [1], [2], [3]]), (4,)).ravel().tolist()
        [0.0, 1.0, 3.0, 4.0]
    """
    if features.ndim != len(size) + 1 or not features.is_floating_point() or 0 in features.shape[1:]:
        raise ValueError(
            f"`features` must be floating point of shape (d, *map) over {len(size)} axes, "
            f"got {features.dtype} {tuple(features.shape)}"
        )
    if points.ndim != 2 or points.shape[1] != len(size) or points.is_floating_point():
        raise ValueError(
            f"`points` must be integers of shape (n, {len(size)}), got {points.dtype} {tuple(points.shape)}"
        )
    if len(points) and (points.min() < 0 or (points >= points.new_tensor(list(size))).any()):
        low, high = points.amin(dim=0).tolist(), points.amax(dim=0).tolist()
        raise ValueError(f"`points` must lie in a volume of size {tuple(size)}, got {low} to {high}")
    if resolve_backend(backend, features.device) == "triton" and features.dtype is not torch.float64:
        from benchmark.core.gather import triton_kernel

        return triton_kernel.gather(features, points, size)
    return reference.gather(features, points, size)
