"""The properties that all estimates share, for every yaml under conf/metric; and that a new yaml inherits them."""

import math
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.inputs.predictions import SecondLookMetric
from benchmark.metric.protocol import Metric
from tests.baselines import properties

METRICS = properties.find()
SEEDS = st.integers(min_value=0, max_value=2**32 - 1)
# A metric and a property are met by some hundred pairs, and every run by other seeds
EXAMPLES = settings(max_examples=4)


def pairs():
    return [
        pytest.param(make, check, id=f"{name}-{check.__name__}")
        for name, make in METRICS.items()
        for check in properties.owed(make())
    ]


def inputs(of):
    return [
        pytest.param(make, *sample, id=f"{name}-{case}")
        for name, make in METRICS.items()
        for case, sample in of(properties.reads(make())).items()
    ]


def test_metrics_are_found():
    assert {"logme", "gbc", "h_score", "leep", "knn", "etran_energy"} <= set(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_keeps_to_the_protocol(name):
    metric = METRICS[name]()
    assert isinstance(metric, Metric)
    assert metric.name == name
    assert all(hash(request) is not None for request in metric.requires)
    known = {check.__name__ for check in properties.SHARED}
    assert set(getattr(metric, "exempt", ())) <= known
    assert set(getattr(metric, "invariances", ())) <= {check.__name__ for check in properties.BY_THEORY}


@pytest.mark.parametrize(("make", "check"), pairs())
@EXAMPLES
@given(seed=SEEDS)
def test_a_property_holds(make, check, seed):
    check(make, seed)


@pytest.mark.parametrize(("make", "rows", "labels"), inputs(properties.degenerate))
def test_a_degenerate_input_has_an_answer(make, rows, labels):
    properties.answers(make, rows, labels)


@pytest.mark.parametrize(("make", "rows", "labels"), inputs(properties.not_finite))
def test_nan_and_inf_are_named(make, rows, labels):
    score = properties.answers(make, rows, labels)
    assert math.isnan(score.value)
    assert "NaN or inf" in score.reason


NEW_METRIC = '''
"""{name}: a new estimate."""

from benchmark.metric.standalone import MomentMetric
from benchmark.metric.score import Score


class New(MomentMetric):
    """The distance of the class means over their spread."""

    name = "{name}"
    invariances = frozenset({{"rotation", "scale", "shift", "duplication"}})

    def _score(self, moments):
        mean, count = moments.mean[moments.count > 0], moments.count[moments.count > 0]
        if len(count) < 2:
            return Score(float("nan"), reason="one class")
        first, apart = (mean - mean[:1]).square().sum(), (mean[:, None] - mean[None]).square().sum()
        within = moments.scatter.diagonal(dim1=1, dim2=2).sum() / count.sum()
        return Score(float(({value}) / within))
'''


@pytest.fixture
def add_metric(tmp_path, monkeypatch):
    """Writes a module and a yaml, and finds what was written as the tests above find theirs."""

    def add(name, value):
        (tmp_path / f"{name}.py").write_text(
            textwrap.dedent(NEW_METRIC.format(name=name, value=value)), encoding="utf-8"
        )
        (tmp_path / f"{name}.yaml").write_text(f"_target_: {name}.New\n", encoding="utf-8")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return properties.find(tmp_path)[name]

    return add


def test_a_new_metric_inherits_the_properties_by_its_yaml(add_metric):
    make = add_metric("spread_of_means", value="apart")
    checks = properties.owed(make())
    assert {check.__name__ for check in checks} >= {"sample_order", "class_order", "chunks", "rotation", "shift"}
    for check in checks:
        check(make, 0)


@pytest.mark.parametrize(
    ("value", "broken"),
    [
        ("apart + first", "class_order"),  # class 0 is not like the others
        ("apart * count.sum()", "duplication"),  # grows with the samples
        ("apart * len(moments.count)", "absent_class"),  # counts a class without samples
        ("-apart", "separation"),  # lower is better
        ("apart + mean.square().sum()", "shift"),  # the origin counts
        ("apart ** 2", "scale"),
    ],
)
def test_a_new_metric_that_breaks_a_property_fails_it(add_metric, value, broken):
    make = add_metric(f"broken_{broken}", value=value)
    failures = []
    for check in properties.owed(make()):
        try:
            for seed in range(3):  # of two classes only, the first is like the other
                check(make, seed)
        except AssertionError:
            failures.append(check.__name__)
    assert broken in failures


@pytest.mark.parametrize("name", [name for name, make in METRICS.items() if isinstance(make(), SecondLookMetric)])
def test_a_second_look_needs_no_order_of_updates(name):
    given_samples = properties.draw("softmax", 0)
    halves = np.array_split(np.arange(len(given_samples.labels)), 2)
    forward, backward = METRICS[name](), METRICS[name]()
    for metric, parts in ((forward, halves), (backward, halves[::-1])):
        for part in parts:
            metric.update(given_samples.rows[part], given_samples.labels[part])
    properties.same(forward.compute(), backward.compute())
