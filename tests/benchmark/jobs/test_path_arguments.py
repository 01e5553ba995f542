"""A path that exists is taken as it is, whatever Hydra's grammar would make of its name."""

import os
import shlex

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from benchmark.errors import InputError
from benchmark.jobs.cli import CONF, prepare_config
from benchmark.jobs.path_arguments import with_paths_quoted
from benchmark.ranking.inputs import as_values

NAMES = [
    "epoch=3-step=20.ckpt",
    "my nets, v2 [final]",
    "[a,b]",
    "{a: 1}",
    "a,b",
    "*",
    "~",
    "~me",
    "-x.pt",
    "null",
    "3",
    "???",
    "a$b$.pt",
    "#1 50%.pt",
    'it\'s "final".pt',
    '"quoted"',
    " blanks ",
    "back\\slash\\",
    "печень.pt",
    "肝臓 モデル.pt",
    "(1) a;b|c&d<e>!`f`?.pt",
    "two\nlines",
    "models:x.y",
]


def read(command: str, arguments: list[str]):
    """The config of a command with the arguments of a command line."""
    prepare_config()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(command, arguments)


@pytest.fixture
def named(tmp_path, monkeypatch):
    """A folder with a file of every name, as the working directory."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        (tmp_path / name).touch()
    return tmp_path


def same(path: str, name: str) -> bool:
    return os.path.normpath(path) == os.path.normpath(name)


def value_of(argument: str):
    """The value that Hydra reads from an argument, as a config has it."""
    value = OverridesParser.create().parse_override(argument).value()
    return OmegaConf.create({"value": [str(v) for v in value] if isinstance(value, list) else value}).value


def test_a_path_that_exists_is_taken_as_it_is(named):
    for name in NAMES:
        for path, key in ((name, "path"), (str(named / name), "table"), (str(named / name), "+some.setting")):
            (argument,) = with_paths_quoted([f"{key}={path}"])
            assert same(value_of(argument), path)


def test_rank_takes_paths_that_exist_as_they_are(named):
    for name in NAMES:
        source, task = as_values([f"source={name}", f"task={named / name}"])
        assert same(value_of(task), str(named / name))
        assert [same(path, name) for path in value_of(source)] == [True]
    (several,) = as_values([f"source=[{named / NAMES[0]}, a,b, {NAMES[1]}]"])
    assert list(value_of(several)) == [str(named / NAMES[0]), "a,b", NAMES[1]]


def test_commands_take_such_paths(named):
    path = named / "epoch=3-step=20.ckpt"
    assert read("inspect", with_paths_quoted([f"path={path}"])).path == str(path)
    config = read("score", with_paths_quoted(["source=state_dict", "source.path=my nets, v2 [final]", "target=liver"]))
    assert config.source.path == "my nets, v2 [final]"
    assert read("audit", with_paths_quoted(["table=a,b"])).table == "a,b"


def test_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "my home"))
    (tmp_path / "my home").mkdir()
    (tmp_path / "my home" / "net=1.pt").touch()
    home = tmp_path / "my home"
    assert read("inspect", with_paths_quoted(["path=~/net=1.pt"])).path == str(home / "net=1.pt")
    assert read("inspect", with_paths_quoted(["output_dir=~/new"])).output_dir == str(home / "new")
    assert list(value_of(as_values(["source=~/net=1.pt,~/*.ckpt"])[0])) == [
        str(home / "net=1.pt"),
        str(home / "*.ckpt"),
    ]


def test_a_path_that_does_not_exist_is_still_a_path():
    assert read("inspect", with_paths_quoted(["path=/nowhere/epoch=3.ckpt"])).path == "/nowhere/epoch=3.ckpt"


def test_other_values_stay_in_hydra_s_grammar(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("2", "liver", "cpu"):
        (tmp_path / name).touch()
    plain = ["threads=2", "metric=[ccfv,logme]", "+monai.x={a: 1}", "~hydra.sweep", "--multirun", "path=null"]
    assert with_paths_quoted(plain) == plain
    config = read("score", with_paths_quoted(["threads=2", "source=state_dict", "source.path=x", "device=cpu"]))
    assert config.threads == 2
    assert read("prepare", with_paths_quoted(["task=liver"])).task.name == "liver"
    assert with_paths_quoted(['path="a b"', "output_dir=${oc.env:X}"]) == ['path="a b"', "output_dir=${oc.env:X}"]


def test_a_printed_command_gives_the_same_again(named):
    once = with_paths_quoted([f"path={named / name}" for name in NAMES])
    assert with_paths_quoted(shlex.split(shlex.join(once))) == once


@pytest.mark.bad_input
def test_a_name_that_no_escape_saves_is_refused(tmp_path):
    (tmp_path / "${x}.pt").touch()
    with pytest.raises(InputError, match=r"cannot use the path \S+\$\{x\}\.pt: \$\{ in a name would be read as a .*"):
        with_paths_quoted([f"path={tmp_path / '${x}.pt'}"])
