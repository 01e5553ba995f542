"""A large synthetic study for `make perf`: random truth and scores of many sources and targets."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.evaluation.correlate import correlate
from analysis.evaluation.study import Study

NOISE = 0.02  # Dice, of one seed


@dataclass(frozen=True)
class LargeStudy:
    """Random truth, scores and sources, and their analysis.

    Attributes:
        sources: The number of sources.
        targets: The number of targets; every source is in every pool.
        metrics: The number of metrics.
        seeds: The number of fine-tuning seeds per pair.
        resamples: The number of bootstrap draws and permutations.
    """

    sources: int
    targets: int
    metrics: int
    seeds: int
    resamples: int

    def __call__(self) -> Study:
        """Draw the frames and correlate them."""
        return correlate(*self.frames(), resamples=self.resamples)

    def frames(self) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
        """Truth, scores and sources; the metrics range from the truth with little noise to mostly noise."""
        generator = np.random.default_rng(0)
        n, t, s = self.sources, self.targets, self.seeds
        expected = 0.5 + 0.1 * generator.standard_normal((1, n)) + 0.05 * generator.standard_normal((t, n))
        dice = expected[..., None] + NOISE * generator.standard_normal((t, n, s))
        noise = np.linspace(0.05, 1.0, self.metrics)[:, None, None] * generator.standard_normal((self.metrics, t, n))
        names = np.array([f"source_{place:04d}" for place in range(n)])
        tasks = np.array([f"target_{place:02d}" for place in range(t)])
        labels = np.array([f"metric_{place:02d}" for place in range(self.metrics)])
        truth = _long({"target": tasks, "source": names, "seed": np.arange(s)}, "dice", dice.clip(0.01, 0.99))
        scores = _long({"metric": labels, "target": tasks, "source": names}, "score", expected + noise)
        return truth.assign(tune="all"), scores.assign(reason="", seconds=1.0), self._sources(names, generator)

    def _sources(
        self, names: "np.ndarray[tuple[int], np.dtype[np.str_]]", generator: np.random.Generator
    ) -> pd.DataFrame:
        n = len(names)
        width = generator.choice([8, 16, 32], n)
        return pd.DataFrame(
            {
                "source": names,
                "task": "made up",
                "arch": generator.choice(["dynunet", "segresnet", "swinunetr"], n),
                "width": width,
                "length": generator.choice(["long", "short", "scratch"], n, p=[0.8, 0.15, 0.05]),
                "parameters": 1000 * width**2,
                "source_dice": generator.uniform(0.4, 0.9, n),
                "source_cases": generator.integers(10, 500, n),
            }
        )


def _long(
    axes: dict[str, "np.ndarray[tuple[int], np.dtype[np.generic]]"], name: str, values: np.ndarray
) -> pd.DataFrame:
    index = pd.MultiIndex.from_product(list(axes.values()), names=list(axes))
    return pd.Series(values.ravel(), index=index, name=name).reset_index()
