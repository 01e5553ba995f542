"""Adding a thing is one place: a metric is one file and one yaml, a source one entry, and every list finds it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parents[2]
METRIC = '''"""Mean gap: the distance of the foreground's mean from the background's, as an example.

    gap = |mean of class 1 - mean of class 0|

Higher is better. Reference: none; tests add it.
"""

import numpy as np

from benchmark.metric.score import Score
from benchmark.metric.standalone import MomentMetric


def mean_gap_score(features, labels) -> float:
    """The gap of samples (n, d) with labels (n,)."""
    return float(np.linalg.norm(features[labels == 1].mean(0) - features[labels == 0].mean(0)))


class MeanGap(MomentMetric):
    """The estimate."""

    name = "mean_gap"

    def _score(self, moments):
        return Score(float((moments.mean[1] - moments.mean[0]).norm()))
'''
SOURCE = "wide_drop: {task: synthetic_drop, width: 6, lengths: {long: 2}}"


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the project with one more metric and one more source."""
    root = tmp_path_factory.mktemp("tree")
    for name in ("benchmark", "baselines", "analysis", "conf", "docs"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("mkdocs.yml", "CHANGELOG.md", "CONTRIBUTING.md", "README.md"):
        shutil.copy(ROOT / name, root / name)
    (root / "baselines" / "mean_gap.py").write_text(METRIC, encoding="utf-8")
    (root / "conf" / "metric" / "mean_gap.yaml").write_text(
        "# @package metric.mean_gap\n_target_: baselines.mean_gap.MeanGap\nlayer: -1\n", encoding="utf-8"
    )
    suite = root / "conf" / "suite" / "synthetic.yaml"
    text = suite.read_text(encoding="utf-8")
    suite.write_text(text.replace("pretrained:", f"pretrained:\n  {SOURCE}\n#", 1), encoding="utf-8")
    return root


def run(tree, module, *arguments):
    settings = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tree), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run([sys.executable, "-m", module, *arguments], cwd=tree, env=settings, capture_output=True,
                          text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_metric_is_in_the_documentation(tree):
    run(tree, "mkdocs", "build", "--quiet", "--site-dir", "site")
    methods = (tree / "site" / "reference" / "methods.html").read_text(encoding="utf-8")
    assert "gap = |mean of class 1 - mean of class 0|" in methods
    assert "mean_gap_score" in (tree / "site" / "reference" / "api.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_metric_and_a_source_are_in_the_bench_and_its_tables(tree, empty_store):
    shutil.copy(empty_store, tree / "mlflow.db")
    places = [
        "data_dir=data",
        "output_dir=outputs",
        "tracking.uri=sqlite:///mlflow.db",
        "tracking.artifacts=mlartifacts",
    ]
    fewer = [
        "suite.sources=[synthetic_drop,wide_drop,scratch]",
        "suite.tasks=[synthetic_ball,synthetic_drop]",
        "~suite.targets.synthetic_pebble",
        "suite.seeds=[0]",
        "suite.longer=null",
        "suite.repeated=null",
        "overrides.correlate=['resamples=20','metric=[mean_gap,logme]']",
    ]
    run(tree, "benchmark.bench", "experiment=synthetic", "hydra/launcher=basic", *fewer, *places)
    agreement = pd.read_csv(tree / "outputs" / "study" / "synthetic" / "agreement.csv")
    assert {"mean_gap", "logme"} <= set(agreement["metric"])
    page = (tree / "outputs" / "report.html").read_text(encoding="utf-8")
    assert "mean_gap" in page
    assert "the distance of the foreground" in page
    assert "wide_drop" in page
    done = subprocess.run([sys.executable, "-c", "from baselines import mean_gap_score"], cwd=tree, check=False)
    assert done.returncode == 0
