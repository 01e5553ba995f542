"""The training budget of a network."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Steps, batches and learning rate.

    Attributes:
        steps: Optimiser steps; 0 leaves the weights unchanged.
        batch: Patches per step.
        patch: (3,) voxels of a patch.
        lr: Largest learning rate; it rises over the first tenth of the steps and falls to 0 along a cosine.
        weight_decay: Weight decay of AdamW.
        augment: Whether to flip patches and change their intensities, in addition to the random crop.
    """

    steps: int
    batch: int = 2
    patch: tuple[int, int, int] = (32, 32, 32)
    lr: float = 3e-3
    weight_decay: float = 1e-4
    augment: bool = True
