"""What the golden test tells below the results: the entries that decide nothing, each with its reason."""

import pytest

UNREQUIRED = pytest.StashKey[dict]()


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
