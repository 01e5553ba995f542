"""Samples that several tests share, and what the golden test tells below the results."""

import numpy as np
import pytest

UNREQUIRED = pytest.StashKey[dict]()


@pytest.fixture
def samples():
    """Features (60, 4) of three unequal classes that overlap somewhat, in no order."""
    generator = np.random.default_rng(5)
    labels = generator.permutation(np.repeat([0, 1, 2], [30, 20, 10]))
    return generator.normal(size=(60, 4)) + 2 * np.eye(3, 4)[labels], labels


@pytest.fixture
def predictions():
    """Softmax (60, 4) over four source classes that follow three target classes somewhat, in no order."""
    generator = np.random.default_rng(6)
    labels = generator.permutation(np.repeat([0, 1, 2], [30, 20, 10]))
    powers = np.exp(generator.normal(size=(60, 4)) + 2 * np.eye(3, 4)[labels])
    return powers / powers.sum(axis=1, keepdims=True), labels


@pytest.fixture
def record_unrequired(request):
    """Takes an entry that is not required, and our value of it or None."""
    lines = request.config.stash.setdefault(UNREQUIRED, {})

    def record(entry, ours):
        of_method = lines.setdefault((entry.method, entry.scope.status, entry.scope.note), [])
        if ours is not None:
            of_method.append(f"{ours:.6g} | {float(entry.value):.6g}")

    return record


def pytest_terminal_summary(terminalreporter, config):
    lines = config.stash.get(UNREQUIRED, {})
    if not lines:
        return
    terminalreporter.section("golden entries without a verdict (ours | theirs)")
    for (method, status, note), values in lines.items():
        reason = f": {note}" if note else ""
        terminalreporter.line(f"{status:8} {method}{reason}" + (f" [{'; '.join(values)}]" if values else ""))
