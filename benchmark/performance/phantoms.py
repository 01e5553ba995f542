"""Synthetic cases for performance measurements: a block of each class, plus noise."""

from collections.abc import Iterator

import torch

from benchmark.data.files.case import Case

NOISE = 0.1  # standard deviation; classes are 1 / k apart


def phantom_cases(count: int, *, size: int, classes: int, seed: int = 0) -> Iterator[Case]:
    """Generate cases one at a time, so that memory does not grow with their number.

    Args:
        count: number of cases.
        size: voxels along each axis, at least `classes`.
        classes: k, background included; every case contains every class.
        seed: seed of positions and noise.

    Yields:
        Cases with one channel.

    Raises:
        ValueError: if `size` is less than `classes`.

    Example:
        >>> [case.labels.unique().tolist() for case in phantom_cases(2, size=16, classes=3)]
        [[0, 1, 2], [0, 1, 2]]
    """
    if size < classes:
        raise ValueError(f"`size` must be at least `classes`, {classes}, got {size}")
    generator = torch.Generator().manual_seed(seed)
    thick, wide = size // classes, (size + 1) // 2
    for index in range(count):
        labels = torch.zeros(size, size, size, dtype=torch.uint8)
        for label in range(1, classes):
            y, z = torch.randint(size - wide + 1, (2,), generator=generator).tolist()
            labels[label * thick : (label + 1) * thick, y : y + wide, z : z + wide] = label
        noise = torch.randn(1, size, size, size, generator=generator)
        yield Case(f"phantom_{index:03d}", labels[None] / classes + NOISE * noise, labels, (1.0, 1.0, 1.0))
