"""Made-up cases: a ball for each class in noise. What is measured depends on sizes, not on anatomy."""

from collections.abc import Iterator

import torch

from benchmark.data.case import Case

NOISE = 0.1  # standard deviation; classes are 1 / k apart


def phantom_cases(count: int, *, size: int, classes: int, seed: int = 0) -> Iterator[Case]:
    """Cases made one at a time, so that many take no more memory than one.

    Args:
        count: number of cases.
        size: voxels along each axis.
        classes: k, background included; every class is in every case.
        seed: of positions and noise.

    Yields:
        Cases of one channel.

    Example:
        >>> [case.labels.unique().tolist() for case in phantom_cases(2, size=16, classes=3)]
        [[0, 1, 2], [0, 1, 2]]
    """
    generator = torch.Generator().manual_seed(seed)
    grid = torch.stack(torch.meshgrid(*[torch.arange(size)] * 3, indexing="ij"))
    radius = size / (2 * classes)
    for index in range(count):
        labels = torch.zeros(size, size, size, dtype=torch.uint8)
        for label in range(1, classes):
            centre = radius + torch.rand(3, generator=generator) * (size - 1 - 2 * radius)
            centre[0] = size * label / classes  # balls lie side by side: none hides another
            labels[(grid - centre[:, None, None, None]).square().sum(dim=0) < radius**2] = label
        noise = torch.randn(1, size, size, size, generator=generator)
        yield Case(f"phantom_{index:03d}", labels[None] / classes + NOISE * noise, labels, (1.0, 1.0, 1.0))
