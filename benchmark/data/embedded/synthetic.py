"""Small synthetic tasks for tests and trials: MONAI's volumes of balls, without any download."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from monai.data import create_test_image_3d

from benchmark.data.files.read_scan import write_nifti
from benchmark.data.tasks.msd_layout import DecathlonTask
from benchmark.storage.files import partial_folder

SPACING = 1.0  # mm


@dataclass(frozen=True)
class SyntheticTask(DecathlonTask):
    """A task in MSD layout that generates its own volumes.

    Attributes:
        organs: Class names; the balls of a class share one intensity.
        size: Voxels per side.
        counts: Split -> number of cases.
        seed: Seed of the task.
        noise: Largest noise, relative to an intensity range of 1.
    """

    organs: tuple[str, ...] = ("ball",)
    size: int = 24
    counts: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    noise: float = 0.3

    def prepare(self, cache: Path, *, code: str = "") -> bool:
        """Generate the volumes, unless they exist.

        Args:
            cache: Not used; other tasks download packages into it.
            code: Digest of the code that generates volumes; volumes of other code are replaced.

        Returns:
            True if volumes were generated.
        """
        folder = Path(self.folder)
        if self.is_made(code=code):
            return False
        with partial_folder(folder) as made:
            for name in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
                (made / name).mkdir(parents=True)
            self._make(made, self.recipe(code))
        return True

    def is_made(self, *, code: str = "") -> bool:
        """Whether the volumes exist and were generated with these settings by this code."""
        return super().is_made() and self._follows(self.recipe(code))

    def _make(self, folder: Path, recipe: str) -> None:
        random = np.random.RandomState(self.seed)  # MONAI's function expects this older generator
        lists: dict[str, list[dict[str, str]]] = {}
        for split, count in self.counts.items():
            part = "Ts" if split in {"test", "external"} else "Tr"
            for index in range(count):
                image, labels = create_test_image_3d(
                    *[self.size] * 3, num_objs=4, rad_max=6, rad_min=3, num_seg_classes=len(self.organs),
                    noise_max=self.noise, random_state=random,
                )  # fmt: skip
                name = f"{self.name}_{split}_{index:02d}.nii.gz"
                write_nifti(image.astype(np.float32), folder / f"images{part}" / name, spacing=SPACING)
                write_nifti(labels.astype(np.uint8), folder / f"labels{part}" / name, spacing=SPACING)
                pair = {"image": f"./images{part}/{name}", "label": f"./labels{part}/{name}"}
                lists.setdefault(self.splits[split], []).append(pair)
        names = {"0": "background"} | {str(value): name for value, name in enumerate(self.organs, 1)}
        description = {"name": self.name, "modality": {"0": "synthetic"}, "labels": names, "recipe": recipe, **lists}
        (folder / "dataset.json").write_text(json.dumps(description, indent=1), encoding="utf-8")
