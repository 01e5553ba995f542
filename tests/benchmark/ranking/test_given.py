import pytest

from benchmark.errors import InputError
from benchmark.ranking.given import as_values, source_nodes, task_node


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("task=liver", 'given.task="liver"'),
        ("task=/a b/c=d", 'given.task="/a b/c=d"'),
        ("source=/x/y", 'given.source=["/x/y"]'),
        ("source=[a, b]", 'given.source=["a","b"]'),
        ("source=a,b", 'given.source=["a","b"]'),
        ('source=["/a b", c]', 'given.source=["/a b","c"]'),
        ("task=", "task="),
        ("device=cuda", "device=cuda"),
        ("metric=[ccfv,logme]", "metric=[ccfv,logme]"),
    ],
)
def test_task_and_source_become_plain_values(given, values):
    assert as_values([given]) == [values]


@pytest.mark.parametrize("text", [None, ""])
def test_a_task_must_be_named(text):
    with pytest.raises(InputError, match=r"task must be a folder of labelled cases or one of .*, got none"):
        task_node(text, overrides=[])


def test_a_source_must_be_named():
    with pytest.raises(InputError, match=r"source must be a folder of checkpoints, paths or names of .*, got none"):
        source_nodes([], trust=False, overrides=[])


def test_a_pattern_without_a_match_is_told(tmp_path):
    with pytest.raises(InputError, match=r"source must hold at least one checkpoint, got none in .*no_such"):
        source_nodes([f"{tmp_path}/no_such*"], trust=False, overrides=[])
