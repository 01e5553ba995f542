"""Synthetic task: MONAI's volumes of balls, for tests and trials without any download."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from monai.data import create_test_image_3d

from benchmark.data.files.description import Description
from benchmark.data.tasks.msd_layout import GeneratedTask

SYNTHETIC_MM = 1.0


@dataclass(frozen=True)
class SyntheticTask(GeneratedTask):
    """A task in MSD layout that generates its own volumes.

    Attributes:
        organs: Class names; the balls of a class share one intensity.
        size: Voxels per side.
        seed: Seed of the task.
        noise: Largest noise, relative to an intensity range of 1.
    """

    organs: tuple[str, ...] = ("ball",)
    size: int = 24
    seed: int = 0
    noise: float = 0.3

    def generate(self, folder: Path, cache: Path, recipe: str) -> Description:
        """Generate the volumes; nothing is downloaded."""
        random = np.random.RandomState(self.seed)  # MONAI's function expects this older generator
        lists: dict[str, list[dict[str, str]]] = {}
        for split, count in self.counts.items():
            for index in range(count):
                image, labels = create_test_image_3d(
                    *[self.size] * 3, num_objs=4, rad_max=6, rad_min=3, num_seg_classes=len(self.organs),
                    noise_max=self.noise, random_state=random,
                )  # fmt: skip
                volumes = image.astype(np.float32), labels.astype(np.uint8)
                entry = self.write_case(folder, split, index, volumes, spacing=SYNTHETIC_MM)
                lists.setdefault(self.splits[split], []).append(entry)
        names = {"0": "background"} | {str(value): name for value, name in enumerate(self.organs, 1)}
        return {"name": self.name, "modality": {"0": "synthetic"}, "labels": names, "recipe": recipe, **lists}
