"""Our functions against the authors' released code, one test an entry of index.json that scope.csv requires.

`pytest tests/baselines/test_golden.py --golden DIR` reads any folder of the same format. Nothing depends on a file's
name.
"""

import json
import re
import shutil
import warnings

import numpy as np
import pytest

from benchmark.metric.score import UndefinedScoreWarning
from tests.baselines.golden_adapters import compute, has_adapter, layers_of
from tests.baselines.golden_entries import NUMBERED, ROUNDING, Entry, read_entries

pytestmark = pytest.mark.golden

# Their common definition guards against an empty source class; some releases divide by its zero and return NaN
LEEPS_WITHOUT_GUARD = ("thuml_leep", "tllib_leep", "parc_leep")
RESPONSIBILITIES = "st_nleep_pca80_responsibilities"


def required(folder) -> list[Entry]:
    return [entry for entry in read_entries(folder) if entry.scope.status == "required" and entry.value is not None]


def pytest_generate_tests(metafunc):
    if "entry" in metafunc.fixturenames:
        folder = metafunc.config.getoption("--golden")
        entries = [entry for entry in read_entries(folder) if entry.scope.status == "required"]
        if not entries:
            raise pytest.UsageError(f"--golden: {folder}/index.json must list a required entry, got none")
        metafunc.parametrize("entry", entries, ids=lambda entry: entry.id)


def reference(entry: Entry) -> Entry:
    """The entry whose value ours must equal: itself, but for LEEP with an empty source class the guarded release."""
    if entry.method in LEEPS_WITHOUT_GUARD and np.isnan(entry.value).all():
        return entry.sibling("st_leep")
    if entry.method == RESPONSIBILITIES:
        return entry.sibling("st_nleep_pca80")
    return entry


def computed(entry: Entry) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedScoreWarning)  # a NaN is compared like any value
        if entry.method == RESPONSIBILITIES:  # an input, not an output: LEEP of it is the mixture's NLEEP
            inputs = {"P": entry.value.astype(np.float64), "y": entry.inputs["y"]}
            return compute("vector", "st_leep", inputs, {})
        return compute(entry.kind, entry.method, entry.inputs, entry.params)


def absolute_tolerance(entry: Entry, expected: np.ndarray) -> np.ndarray | float:
    """scope.csv's, on the diagonal and for identical sets where its note says so; else the rounding of a 0."""
    finite = np.abs(expected[np.isfinite(expected)])
    rounding = ROUNDING * max(1.0, finite.max(initial=0.0)) * (finite.min(initial=1.0) == 0)
    if entry.scope.atol is None:
        return rounding
    if "diagonal" not in entry.scope.note:
        return entry.scope.atol
    return np.where(identical_sets(entry, expected), entry.scope.atol, rounding)


def identical_sets(entry: Entry, expected: np.ndarray) -> np.ndarray:
    """(k, m, m) which distances are between one and the same set of samples."""
    layer = layers_of(entry.inputs)[entry.method.partition("__")[0]]
    same = np.zeros(expected.shape, dtype=bool)
    for place, label in enumerate(layer.foreground):
        sets = [case[label].numpy() for case in layer.classes]
        same[place] = [[np.array_equal(a, b) for b in sets] for a in sets]
    return same


def check(actual: np.ndarray, entry: Entry) -> None:
    meant = reference(entry)
    expected = np.asarray(meant.value, dtype=np.float64)
    assert actual.shape == expected.shape
    assert (np.isnan(actual) == np.isnan(expected)).all(), f"ours {actual}, theirs {expected}"
    rtol = entry.rtol if meant is entry or entry.method == RESPONSIBILITIES else meant.rtol
    error = np.abs(actual - expected)
    allowed = absolute_tolerance(entry, expected) + rtol * np.abs(expected)
    assert not (error > allowed).any(), f"ours {actual}, theirs {expected}: off by {error.max():.3g}, allowed {allowed}"


def test_a_required_entry_is_met(entry):
    """Ours equals it; where the released code failed, ours answers."""
    if entry.value is None:
        check_answer(entry)
    else:
        check(computed(entry), entry)


def check_answer(failure: Entry) -> None:
    """A finite number, or NaN with a warning that gives the reason; never an exception."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        value = compute(failure.kind, failure.method, failure.inputs, failure.params)
    reasons = [str(warning.message) for warning in caught if warning.category is UndefinedScoreWarning]
    assert np.isfinite(value).all() or any(reasons)


def test_entries_without_a_verdict_are_listed_with_their_reason(golden, record_unrequired):
    """The list is printed below the results: our value beside theirs where we have one."""
    listed = [entry for entry in read_entries(golden) if entry.scope.status != "required"]
    for entry in listed:
        ours = None
        if entry.value is not None and entry.value.size == 1 and has_adapter(entry.kind, entry.method):
            ours = float(computed(entry))
        record_unrequired(entry, ours)
    assert {entry.scope.status for entry in listed} <= {"reported", "not ours"}


# The check itself: it reads other folders, and it fails where it must.


@pytest.fixture
def moved(golden, tmp_path):
    """The golden vectors under other file names, of layers and pairs that scope.csv does not list."""
    if (golden / "scope.csv").exists():
        shutil.copy(golden / "scope.csv", tmp_path)
    index = json.loads((golden / "index.json").read_text(encoding="utf-8"))
    for number, file in enumerate(index["files"]):
        shutil.copy(golden / file["file"], tmp_path / f"{number}.npz")
        file["file"] = f"{number}.npz"
    (tmp_path / "index.json").write_text(json.dumps(index), encoding="utf-8")
    return tmp_path


def test_nothing_depends_on_file_names(golden, moved):
    kinds = {}
    for entry in required(moved):
        kinds.setdefault(entry.kind, entry)
    assert set(kinds) == {entry.kind for entry in required(golden)}
    for entry in kinds.values():
        check(computed(entry), entry)


def test_an_unknown_layer_takes_the_row_of_the_first():
    generic = ["dec17__w2_matrix", "variety_a12"]
    for pattern, first in NUMBERED:
        generic = [re.sub(pattern, first, method) for method in generic]
    assert generic == ["dec0__w2_matrix", "variety_a0"]


def test_a_wrong_value_is_noticed(golden):
    seen = {}
    for entry in required(golden):
        if np.isfinite(reference(entry).value).all():
            seen.setdefault((entry.kind, entry.rtol), entry)
    for entry in seen.values():
        expected = np.asarray(reference(entry).value, dtype=np.float64)
        shift = 3 * max(entry.rtol, reference(entry).rtol) * np.abs(expected).max() + 10 * ROUNDING
        shift = shift + (entry.scope.atol or 0)
        with pytest.raises(AssertionError):
            check(expected + shift, entry)
