"""Tasks of one's own data by a folder alone: on the command line, and recognised."""

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate

from benchmark.data.tasks.opening import prepared, recognise_task
from benchmark.errors import InputError
from benchmark.jobs.cli import CONF, prepare_config


def composed(name: str, *overrides: str):
    """The task as `target=NAME` gives it on the command line."""
    prepare_config()
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return instantiate(compose("score", [f"target={name}", *(f"target.{one}" for one in overrides)]).target)


def test_the_command_line_needs_a_folder_alone(msd, raw, preprocessed):
    for name, folder in (("msd", msd), ("nnunet", raw), ("nnunet_preprocessed", preprocessed)):
        task = composed(name, f"folder={folder}")
        assert task.name == folder.name
        assert task.names("train")
    assert composed("msd", f"folder={msd}", "name=mine", "plan.kind=window", "plan.window=[0,1]").preparation


@pytest.mark.parametrize("name", ["msd", "nnunet", "nnunet_preprocessed"])
def test_a_folder_is_recognised(name, request):
    fixture = {"msd": "msd", "nnunet": "raw", "nnunet_preprocessed": "preprocessed"}[name]
    folder = request.getfixturevalue(fixture)
    recognised, chosen = instantiate(recognise_task(folder)), composed(name, f"folder={folder}")
    assert type(recognised) is type(chosen)
    assert recognised.names("train") == chosen.names("train")
    assert recognised.digest() == chosen.digest()
    assert recognised.preparation == chosen.preparation


@pytest.mark.bad_input
def test_a_folder_that_is_no_task_is_told(tmp_path):
    with pytest.raises(InputError, match=r"task \S+nowhere not found: it must be a folder with dataset\.json"):
        recognise_task(tmp_path / "nowhere")
    (tmp_path / "dataset.json").write_text("{}")
    with pytest.raises(
        InputError, match=r"dataset\.json must have the key training \(MSD\) or channel_names \(nnU-Net v2\)"
    ):
        recognise_task(tmp_path)


def test_what_lies_beside_a_users_folder_is_left_alone(msd, compose_command):
    """A job that makes a task clears what a killed one left; a folder of a user's has no such neighbours."""
    beside = msd.parent / f".{msd.name}-backup"
    beside.mkdir()
    node = compose_command("prepare", "task=msd", f"task.folder={msd}", f"data_dir={msd.parent / 'data'}").task
    prepared(node, msd.parent / "data")
    assert beside.is_dir()
