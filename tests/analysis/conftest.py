"""A planted study: the truth is known, so that what the tables must say is known too."""

import numpy as np
import pandas as pd
import pytest

TARGETS = ("liver", "spleen", "lung", "kidney", "colon")
SOURCES = tuple(f"s{i:02d}" for i in range(12))
SEEDS = range(4)


@pytest.fixture(scope="session")
def planted() -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Truth, scores and sources of five targets, twelve sources and four seeds.

    Source s00 is from scratch and s01 short; the source effect is the same on every target, so that the static
    leaderboard is perfect. `good` is the truth plus noise, `bad` its negative, `constant` says nothing, `gap` is `good`
    with NaN for s03 on the liver, `late` has no row for s05 on the lung.
    """
    generator = np.random.default_rng(0)
    expected = np.linspace(0.2, 0.75, len(SOURCES))
    truth, scores = [], []
    for number, target in enumerate(TARGETS):
        for source, mean in zip(SOURCES, expected, strict=True):
            dice = mean + 0.02 * number + 0.04 * generator.standard_normal(len(SEEDS))
            truth += [(source, target, seed, "last", value) for seed, value in zip(SEEDS, dice, strict=True)]
            noisy = mean + 0.05 * generator.standard_normal()
            values = {"good": (noisy, ""), "bad": (-noisy, ""), "constant": (1.0, ""), "gap": (noisy, "")}
            if (source, target) == ("s03", "liver"):
                values["gap"] = (float("nan"), "class 1 in fewer than two cases")
            if (source, target) != ("s05", "lung"):
                values["late"] = (noisy, "")
            scores += [(source, target, metric, value, why, 0.5) for metric, (value, why) in values.items()]
    sources = pd.DataFrame(
        {
            "source": SOURCES,
            "task": ["none", *("brain",) * 11],
            "arch": "dynunet",
            "width": [8, 16] * 6,
            "length": ["scratch", "short", *("long",) * 10],
            "parameters": [1000, 4000] * 6,
            "source_dice": [float("nan"), *(0.5 + 0.4 * generator.random(11))],
            "source_cases": [float("nan"), *generator.integers(4, 40, 11)],
        }
    )
    truth_columns, score_columns = "source target seed tune dice", "source target metric score reason seconds"
    return (
        pd.DataFrame(truth, columns=truth_columns.split()),
        pd.DataFrame(scores, columns=score_columns.split()),
        sources,
    )


@pytest.fixture(scope="session")
def study(planted):
    """The planted study, evaluated; liver and spleen share a scan."""
    from analysis.evaluation.correlate import correlate

    return correlate(*planted, resamples=300, seed=0, scans={"liver": "abdomen", "spleen": "abdomen"})


@pytest.fixture(scope="session")
def trained(planted):
    """The planted study with `good` as CC-FV and with short fine-tuning.

    Its Dice on validation cases is the truth plus noise, less the longer it is trained, at 20, 40 and 80 s.
    """
    from analysis.evaluation.correlate import correlate

    truth, scores, sources = planted
    generator = np.random.default_rng(1)
    rungs = [
        truth.assign(rung=rung, seconds=seconds, dice=truth["dice"] + noise * generator.standard_normal(len(truth)))
        for rung, seconds, noise in (("eighth", 20.0, 0.2), ("quarter", 40.0, 0.1), ("half", 80.0, 0.01))
    ]
    named = scores.replace({"metric": {"good": "ccfv"}})
    return correlate(truth, named, sources, resamples=100, rungs=pd.concat(rungs))


@pytest.fixture(scope="session")
def evidence(study):
    """What stands beside the planted study: pictures, CC-FV's parts, notes, provenance.

    Of CC-FV's two terms the consistency ranks as the truth does, the variety is the same for all.
    """
    from analysis.evaluation.layer_parts import layer_terms
    from analysis.report import ReportEvidence
    from analysis.report.evidence import Picture, metric_notes

    parts = [
        (source, pool.target, f"part/ccfv/{name}_{layer}", value)
        for pool in study.pools
        for source, dice in zip(pool.sources, pool.mean, strict=True)
        for layer in (1, 2)
        for name, value in (("consistency", float(np.exp(-dice))), ("variety", 0.5))
    ]
    pixel = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///ywAAAAAAQABAAACAUwAOw=="
    targets = {"ccfv": "benchmark.ccfv.CCFV", "logme": "baselines.logme.LogME"}
    return ReportEvidence(
        suite="planted",
        limits=("A planted study.",),
        terms=layer_terms(pd.DataFrame(parts, columns=["source", "target", "name", "value"])),
        tasks=(Picture("brain", "Three slices of a brain", "brain: 4 train cases", pixel),),
        predictions=(Picture("liver", "Slices of a liver", "liver, best test case <of> s11: Dice 0.900", pixel),),
        methods=metric_notes({name: {"_target_": target} for name, target in targets.items()}),
        facts={"Code": (("commit 0123456789ab", "240 runs"),)},
        settings="suite:\n  name: planted\n",
    )


@pytest.fixture(scope="session")
def report(study, evidence, tmp_path_factory):
    """The folder of the planted study's report."""
    from analysis.report import write_report

    folder = tmp_path_factory.mktemp("report")
    write_report(study, evidence, output=folder)
    return folder
