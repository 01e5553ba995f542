"""The shared fixtures give what they promise, and a missing program is named or, in CI, fails the test."""

import pytest
import torch

pytest_plugins = ["pytester"]

MARKED = """
import pytest

@pytest.mark.slurm
def test_needs_slurm():
    pass

@pytest.mark.gpu
def test_needs_gpu():
    pass
"""


@pytest.fixture
def marked(pytester, monkeypatch, request):
    """A folder with one Slurm test and one GPU test, on a machine that has neither."""
    text = (request.path.parent / "conftest.py").read_text(encoding="utf-8").partition("# --- fixtures of the tests")[0]
    text += "\nPROGRAMS['slurm'] = ('no-such-program',)\n_has_cuda = lambda: False\n"
    pytester.makeconftest(text)
    pytester.makepyfile(MARKED)
    pytester.makeini("[pytest]\nmarkers =\n  slurm: x\n  gpu: x\n")
    monkeypatch.delenv("CI", raising=False)
    return pytester


def test_absent_program_is_skipped_with_its_name_and_the_line_that_installs_it(marked):
    result = marked.runpytest("-rs")
    result.assert_outcomes(skipped=2)
    result.stdout.fnmatch_lines(["*no-such-program*make system-deps*"])
    result.stdout.fnmatch_lines(["*needs a CUDA device*"])


def test_absent_program_fails_in_ci_and_a_gpu_is_still_skipped(marked, monkeypatch):
    monkeypatch.setenv("CI", "true")
    marked.runpytest().assert_outcomes(errors=1, skipped=1)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_made_cases_hold_every_class(make_case, classes):
    case = make_case(seed=1, shape=(18, 20, 22), classes=classes, channels=2)
    assert case.image.shape == (2, 18, 20, 22)
    assert case.image.dtype == torch.float32
    assert case.labels.dtype == torch.uint8
    assert case.labels.unique().tolist() == list(range(classes))


def test_made_cases_depend_on_the_seed_alone(make_case):
    first, again, other = make_case(seed=3), make_case(seed=3), make_case(seed=4)
    assert torch.equal(first.image, again.image)
    assert not torch.equal(first.image, other.image)


def test_shared_cases_have_names_of_their_own(cases):
    assert len({case.name for case in cases}) == len(cases) == 4
