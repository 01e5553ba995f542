import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from benchmark.errors import InputError
from benchmark.jobs.cli import CONF, prepare_config
from benchmark.ranking.inputs import as_values, places_of, source_nodes, task_node


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ("task=liver", 'given.task="liver"'),
        ("task=/a b/c=d", 'given.task="/a b/c=d"'),
        ("source=/x/y", 'given.source=["/x/y"]'),
        ("source=[a, b]", 'given.source=["a","b"]'),
        ("source=a,b", 'given.source=["a","b"]'),
        ("source=a,", 'given.source=["a"]'),
        ("source=[]", "given.source=[]"),
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


def test_a_path_that_exists_is_one_value(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a, b.pt", "c,d,e", "[x]", "plain.pt"):
        (tmp_path / name).touch()
    assert as_values(["source=a, b.pt,plain.pt"]) == ['given.source=["a, b.pt","plain.pt"]']
    assert as_values(["source=[plain.pt,c,d,e,f]"]) == ['given.source=["plain.pt","c,d,e","f"]']
    assert as_values(["source=[x]"]) == ['given.source=["[x]"]']
    many = ",".join(f"source_{index}" for index in range(100))  # longer than a name in a file system may be
    assert as_values([f"source={many}"]) == ['given.source=["' + many.replace(",", '","') + '"]']


@pytest.fixture(scope="module")
def nodes():
    """The sources that texts name, where Hydra knows the configs as it does below a command."""
    prepare_config()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *texts: source_nodes(list(texts), trust=False, overrides=["data_dir=data", "output_dir=outputs"])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no_such*", "source {}/no_such[*]: no file or folder matches this pattern"),
        ("no_such", "source {}/no_such not found: it is neither a file nor a folder"),
        ("empty", "source {}/empty holds no checkpoint: .+"),
        ("e*", "source {}/e[*] holds no checkpoint: .+"),
    ],
)
def test_a_member_without_a_source_is_named(nodes, tmp_path, text, line):
    (tmp_path / "empty").mkdir()
    (tmp_path / "net.pt").touch()
    with pytest.raises(InputError, match=f"^{line.format(tmp_path)}$"):
        nodes("scratch", f"{tmp_path}/net.pt", f"{tmp_path}/{text}")


def test_names_of_the_configs_and_paths_stand_together(nodes, tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "scratch.pt").touch()
    (tmp_path / "README.md").touch()
    given = nodes("scratch", f"{tmp_path}/a", f"{tmp_path}/*", "scratch")
    assert list(given.nodes) == ["scratch", "a/scratch", "b/scratch"]
    assert given.nodes["scratch"]["_target_"] == "benchmark.sources.pretrained.PoolSource"
    assert given.nodes["b/scratch"]["name"] == "b/scratch"
    assert (given.left, given.other_files) == ({}, 1)
    assert given.notes == ("1 other file was not read: hidden, or without the suffix of a weights file",)


def test_a_path_comes_before_a_name_of_the_configs(nodes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "net.pt").touch()
    assert list(nodes("scratch").nodes) == ["net"]


def test_a_folder_of_any_name_is_passed_on():
    cfg = OmegaConf.create({"data_dir": "/data", "output_dir": "/tmp/x/a=b,{c}"})
    assert places_of(cfg) == ['data_dir="/data"', 'output_dir="/tmp/x/a=b,{c}"']
