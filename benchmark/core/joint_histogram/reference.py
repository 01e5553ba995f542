"""Joint histogram in plain torch, the reference implementation for every device."""

import torch
from torch import Tensor

BLOCK_ROWS = 65536


def joint_histogram(probabilities: Tensor, labels: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Soft and hard sums, (k, z) float64 each, block by block; arguments as in `joint_histogram` of the package."""
    z = probabilities.shape[1]
    soft = torch.zeros(k, z, dtype=torch.float64, device=probabilities.device)
    hard = torch.zeros(k * z, dtype=torch.int64, device=probabilities.device)
    blocks = zip(torch.split(probabilities, BLOCK_ROWS), torch.split(labels.long(), BLOCK_ROWS), strict=True)
    for rows, row_labels in blocks:
        soft.index_add_(0, row_labels, rows.double())
        largest = rows.contiguous().argmax(dim=1)  # several times as fast as on a transposed map
        hard += torch.bincount(row_labels * z + largest, minlength=k * z)
    counts = hard.view(k, z).double()
    counts[:, ~soft.isfinite().all(dim=0)] = torch.nan
    return soft, counts
