"""A large synthetic study for `make perf`, and its report: random truth and scores of many sources and targets."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.evaluation.correlate import correlate
from analysis.evaluation.study import Study
from analysis.report.evidence import ReportEvidence
from analysis.report.files import PAGE, write_report

MEGABYTE = 1024**2
NOISE = 0.02  # Dice, of one seed


@dataclass(frozen=True)
class LargeStudy:
    """Random truth, scores and sources, and their analysis.

    Attributes:
        sources: The number of sources.
        targets: The number of targets; every source is in every pool.
        metrics: The number of metrics.
        seeds: The number of fine-tuning seeds per pair.
        cases: The number of test cases per target.
        resamples: The number of bootstrap draws and permutations.
    """

    sources: int
    targets: int
    metrics: int
    seeds: int
    cases: int
    resamples: int

    def __call__(self) -> Study:
        """Draw the frames and correlate them."""
        truth, scores, sources = self.frames()
        cases = truth.loc[truth.index.repeat(self.cases)].assign(**{"class": "all"})
        cases["case"] = np.tile(np.arange(self.cases), len(truth))
        cases["dice"] += NOISE * np.random.default_rng(1).standard_normal(len(cases))
        return correlate(truth, scores, sources, resamples=self.resamples, cases=cases)

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
        width = generator.choice([8, 16, 32], n)
        sources = {
            "source": names,
            "task": "made up",
            "arch": generator.choice(["dynunet", "segresnet", "swinunetr"], n),
            "width": width,
            "length": generator.choice(["long", "short", "scratch"], n, p=[0.8, 0.15, 0.05]),
            "parameters": 1000 * width**2,
            "source_dice": generator.uniform(0.4, 0.9, n),
            "source_cases": generator.integers(10, 500, n),
        }
        return truth.assign(tune="all"), scores.assign(reason="", seconds=1.0), pd.DataFrame(sources)


def _long(
    axes: dict[str, "np.ndarray[tuple[int], np.dtype[np.generic]]"], name: str, values: np.ndarray
) -> pd.DataFrame:
    index = pd.MultiIndex.from_product(list(axes.values()), names=list(axes))
    return pd.Series(values.ravel(), index=index, name=name).reset_index()


@dataclass(frozen=True)
class LargeReport:
    """Analysis and report of a synthetic study, from the frames to the files.

    Attributes:
        study: The study.
        page_megabytes: The maximum size of the page.
    """

    study: LargeStudy
    page_megabytes: float

    def __call__(self) -> None:
        """Analyse the study and write its report to a temporary folder.

        Raises:
            ValueError: The page is too large.
        """
        with tempfile.TemporaryDirectory() as folder:
            write_report(self.study(), ReportEvidence(suite="large"), output=Path(folder))
            size = (Path(folder) / PAGE).stat().st_size / MEGABYTE
        if size > self.page_megabytes:
            raise ValueError(f"the page has {size:.1f} MB, more than `page_megabytes` ({self.page_megabytes:g} MB)")
