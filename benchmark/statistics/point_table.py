"""PointTable: the rows of a class-balanced sample."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class PointTable:
    """Sampled voxels, sorted by class and priority.

    Attributes:
        features: (n, d) float32.
        logits: (n, z) float32, of the source; (n, 0) without a head.
        labels: (n,) int64.
        cases: (n,) int64, indices into the sample's case names.
        positions: (n, 3) int64 voxel coordinates.
        boundary: (n,) bool, whether a face neighbour has another class.
        priorities: (n,) float64.
    """

    features: Tensor
    logits: Tensor
    labels: Tensor
    cases: Tensor
    positions: Tensor
    boundary: Tensor
    priorities: Tensor

    def take(self, rows: Tensor) -> "PointTable":
        """Select rows.

        Args:
            rows: (n,) int64 or bool.

        Returns:
            Table of the selected rows.
        """
        return PointTable(*(getattr(self, column.name)[rows] for column in fields(self)))

    def joined(self, other: "PointTable") -> "PointTable":
        """Concatenate two tables.

        Args:
            other: table with the same d and z.

        Returns:
            Table of all rows.
        """
        columns = [column.name for column in fields(self)]
        return PointTable(*(torch.cat([getattr(self, name), getattr(other, name)]) for name in columns))

    def smallest(self, quota: int, k: int) -> "PointTable":
        """Keep the rows of smallest priority in each class, sorted by class and priority.

        Args:
            quota: maximum number of rows per class.
            k: number of classes.

        Returns:
            Table of the rows kept.
        """
        ordered = self.take(torch.argsort(self.priorities, stable=True))
        kept = [torch.nonzero(ordered.labels == label).squeeze(1)[:quota] for label in range(k)]
        return ordered.take(torch.cat(kept) if kept else torch.zeros(0, dtype=torch.int64))

    def limits(self, quota: int, k: int) -> Tensor:
        """Compute the priority below which a row would enter the table.

        Args:
            quota: maximum number of rows per class.
            k: number of classes.

        Returns:
            (k,) float64; inf for a class with fewer than `quota` rows.
        """
        limits = torch.full((k,), torch.inf, dtype=torch.float64)
        for label in range(k):
            own = self.priorities[self.labels == label]
            if len(own) >= quota:
                limits[label] = own.max()
        return limits
