"""Which sources a path holds: every weights file and known folder is a source or listed, under a name of its own."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from safetensors.torch import save_file

from benchmark.errors import InputError
from benchmark.sources.readers import folder_search
from benchmark.sources.readers.recognise import recognise, recognise_pool
from tests.checkpoints import small_network, write_bundle, write_file, write_nnunet

LINK = "a symbolic link, and links are not followed; name it as a source of its own to have it read"


def touch(*paths: Path) -> None:
    """Weights files by their names; a pool is recognised before any of them is read."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def results(folder: Path, *checkpoints: str, name: str = "nnUNetTrainer__nnUNetPlans__3d_fullres") -> Path:
    """A results folder of nnU-Net with empty files."""
    place = folder / name
    touch(place / "plans.json", place / "dataset.json", *(place / checkpoint for checkpoint in checkpoints))
    return place


def final(fold: int | str) -> str:
    return f"fold_{fold}/checkpoint_final.pth"


def best(fold: int | str) -> str:
    return f"fold_{fold}/checkpoint_best.pth"


def read_by(node) -> str:
    return node["_target_"].rpartition(".")[2]


# --- what is a source ---


@pytest.mark.parametrize("named", ["{}", "{}/*"])
def test_every_weights_file_and_known_folder_is_a_source(tmp_path, named):
    touch(*(tmp_path / f"net{suffix[1:]}{suffix}" for suffix in (".safetensors", ".pt", ".pth", ".ckpt", ".bin")))
    touch(tmp_path / "run" / "checkpoints" / "best.ckpt", tmp_path / "run" / "checkpoints" / "last.ckpt")
    touch(tmp_path / "bundle" / "configs" / "metadata.json", tmp_path / "bundle" / "models" / "model.pt")
    touch(tmp_path / "ours" / "source.json", tmp_path / "ours" / "weights.safetensors")
    results(tmp_path / "results" / "Dataset501_A", final(0))
    touch(tmp_path / "README.md", tmp_path / "run" / "config.yaml", tmp_path / "images" / "a.png")
    pool = recognise_pool(named.format(tmp_path))
    kinds = {name: read_by(node) for name, node in pool.nodes.items()}
    loose = ["netsafetensors", "netpt", "netpth", "netckpt", "netbin", "best", "last"]
    assert kinds == dict.fromkeys(loose, "StateDictSource") | {
        "bundle": "BundleSource", "ours": "FileSource", "Dataset501_A__3d_fullres": "NnunetSource"
    }  # fmt: skip
    assert all(node["name"] == name for name, node in pool.nodes.items())
    assert pool.left == {}
    assert pool.other_files == 3
    assert pool.notes == ("3 other files were not read: hidden, or without the suffix of a weights file",)


def test_one_loose_file_does_not_hide_the_rest_of_its_folder(tmp_path):
    touch(tmp_path / "only.pt", tmp_path / "inner" / "other.pt")
    results(tmp_path / "Dataset501_A", final(0))
    assert set(recognise_pool(tmp_path).nodes) == {"only", "other", "Dataset501_A__3d_fullres"}


def test_weights_that_do_not_belong_to_a_known_folder_are_sources_too(tmp_path):
    place = results(tmp_path / "Dataset501_A", final(0), "fold_0/checkpoint_epoch_50.pth", "pretrained.pth")
    touch(tmp_path / "bundle" / "configs" / "metadata.json", tmp_path / "bundle" / "models" / "model.pt")
    touch(tmp_path / "bundle" / "models" / "ensemble" / "first.pt", tmp_path / "bundle" / "eval.ckpt")
    touch(tmp_path / "ours" / "source.json", tmp_path / "ours" / "weights.safetensors", tmp_path / "ours" / "last.pt")
    pool = recognise_pool(tmp_path)
    loose = {name for name, node in pool.nodes.items() if read_by(node) == "StateDictSource"}
    assert loose == {"checkpoint_epoch_50", "pretrained", "first", "eval", "last"}
    assert set(pool.nodes) == {*loose, "bundle", "ours", "Dataset501_A__3d_fullres"}
    assert pool.nodes["pretrained"]["path"] == str(place / "pretrained.pth")


def test_a_fold_folder_of_another_training_is_no_nnunet(tmp_path):
    touch(tmp_path / "fold_0" / "checkpoint_best.pth", tmp_path / "fold_1" / "checkpoint_best.pth")
    pool = recognise_pool(tmp_path)
    assert set(pool.nodes) == {"fold_0/checkpoint_best", "fold_1/checkpoint_best"}
    assert {read_by(node) for node in pool.nodes.values()} == {"StateDictSource"}


# --- nnU-Net ---


def chosen(place: Path, **settings) -> tuple[str, ...]:
    source = instantiate(recognise(place) | settings)
    return source._chosen().notes


@pytest.mark.parametrize(
    ("checkpoints", "note"),
    [
        ([final(0), final(1)], "fold_0, checkpoint_final.pth"),
        ([best(0), final(1)], "fold_1, checkpoint_final.pth"),
        ([final(10), final(2)], "fold_2, checkpoint_final.pth"),
        ([final("all"), final(3)], "fold_3, checkpoint_final.pth"),
        (["fold_0/checkpoint_latest.pth", best(1)], "fold_1, checkpoint_best.pth"),
        (["fold_0/checkpoint_latest.pth"], "fold_0, checkpoint_latest.pth"),
    ],
)
def test_the_first_finished_fold_is_read(tmp_path, checkpoints, note):
    place = results(tmp_path, *checkpoints)
    assert list(recognise_pool(place).nodes) == [f"{tmp_path.name}__3d_fullres"]
    assert chosen(place)[0] == note


def test_what_else_is_in_a_results_folder_is_said(tmp_path):
    place = results(tmp_path, final(0), best(0), best(1))
    assert chosen(place) == (
        "fold_0, checkpoint_final.pth",
        "other checkpoints of the results folder: fold_0/checkpoint_best.pth, fold_1/checkpoint_best.pth",
    )
    (place / final(0)).unlink()
    assert chosen(place)[1] == (
        "checkpoint_best.pth is read because no fold has checkpoint_final.pth; the training may be unfinished"
    )
    assert chosen(place, fold=1) == (
        "fold_1, checkpoint_best.pth",
        "checkpoint_best.pth is read because fold_1 does not have checkpoint_final.pth; the training may be unfinished",
        "other checkpoints of the results folder: fold_0/checkpoint_best.pth",
    )


def test_fold_and_checkpoint_settings_win(tmp_path):
    place = results(tmp_path, final(0), best(0), final(1), best(1), "fold_1/checkpoint_latest.pth")
    assert chosen(place, checkpoint="best")[0] == "fold_0, checkpoint_best.pth"
    assert chosen(place, fold=1, checkpoint="latest")[0] == "fold_1, checkpoint_latest.pth"
    assert chosen(place, checkpoint="latest")[0] == "fold_1, checkpoint_latest.pth"
    with pytest.raises(InputError, match="`fold` must be one of 0, 1, got 7"):
        chosen(place, fold=7)
    with pytest.raises(InputError, match="`checkpoint` must be one of final, best, latest, got last"):
        chosen(place, checkpoint="last")
    with pytest.raises(InputError, match=r"no checkpoint_latest\.pth in fold_0 of "):
        chosen(place, fold=0, checkpoint="latest")


def test_an_unfinished_results_folder_is_listed(tmp_path):
    touch(tmp_path / "net.pt")
    place = results(tmp_path / "Dataset501_A", "fold_0/progress.png")
    none = results(tmp_path / "Dataset502_B")
    pool = recognise_pool(tmp_path)
    assert list(pool.nodes) == ["net"]
    names = "checkpoint_final.pth or checkpoint_best.pth or checkpoint_latest.pth"
    assert pool.left == {
        "Dataset501_A/nnUNetTrainer__nnUNetPlans__3d_fullres": f"no {names} in fold_0 of {place}",
        "Dataset502_B/nnUNetTrainer__nnUNetPlans__3d_fullres": f"no fold_X folder in {none}",
    }


def test_trainers_plans_and_configurations_are_sources_of_their_own(tmp_path):
    data = tmp_path / "Dataset501_A"
    for name in ("nnUNetTrainer__nnUNetPlans__2d", "nnUNetTrainer__nnUNetPlans__3d_fullres"):
        results(data, final(0), name=name)
    assert set(recognise_pool(data).nodes) == {"Dataset501_A__2d", "Dataset501_A__3d_fullres"}
    results(data, final(0), name="nnUNetTrainerBN__nnUNetPlans__2d")
    assert set(recognise_pool(data).nodes) == {
        "Dataset501_A__nnUNetTrainer__2d", "Dataset501_A__nnUNetTrainerBN__2d", "Dataset501_A__3d_fullres"
    }  # fmt: skip
    results(data, final(0), name="nnUNetTrainer__ResEncL__3d_fullres")
    assert {"Dataset501_A__nnUNetPlans__3d_fullres", "Dataset501_A__ResEncL__3d_fullres"} < set(
        recognise_pool(data).nodes
    )
    results(data, final(0), name="nnUNetTrainerBN__ResEncL__3d_fullres")
    assert "Dataset501_A__nnUNetTrainerBN__ResEncL__3d_fullres" in recognise_pool(data).nodes


def test_named_folds_and_checkpoints_are_sources_of_their_own(tmp_path):
    place = results(tmp_path / "Dataset501_A", final(0), best(0), final(1))
    short = "Dataset501_A__3d_fullres"
    pool = recognise_pool(f"{place}/fold_*")
    assert {name: node["fold"] for name, node in pool.nodes.items()} == {
        f"{short}__fold_0": "0",
        f"{short}__fold_1": "1",
    }
    pool = recognise_pool([place, place / "fold_0", place / "fold_0" / "checkpoint_final.pth"])
    assert list(pool.nodes) == [short], "all three are one checkpoint"
    assert "fold" not in pool.nodes[short]
    assert list(recognise_pool(f"{tmp_path}/**").nodes) == [short], "a folder of the pattern holds the folds"
    pool = recognise_pool([place, place / "fold_0" / "checkpoint_best.pth"])
    assert sorted(node.get("checkpoint", "") for node in pool.nodes.values()) == ["", "best"]
    touch(place / "fold_2" / "progress.png")
    assert list(recognise_pool(f"{place}/fold_[12]").left) == ["fold_2"]


# --- bundles ---


def test_each_weights_file_of_a_bundle_is_a_source(tmp_path):
    write_bundle(tmp_path / "spleen")
    network = small_network("UNet", seed=1)
    torch.save(network.state_dict(), tmp_path / "spleen" / "models" / "model_fold1.pt")
    touch(tmp_path / "spleen" / "models" / ".hidden.pt")
    pool = recognise_pool(tmp_path)
    assert set(pool.nodes) == {"spleen", "spleen/model_fold1"}
    first, second = (instantiate(node).open() for node in pool.nodes.values())
    assert any("model.pt" in note for note in first.notes)
    assert any("model_fold1.pt" in note for note in second.notes)
    torch.testing.assert_close(dict(second.weights), network.state_dict())


def test_a_bundle_with_one_file_of_another_name_keeps_the_folders_name(tmp_path):
    touch(tmp_path / "spleen" / "configs" / "metadata.json", tmp_path / "spleen" / "models" / "best.pt")
    assert list(recognise_pool(tmp_path).nodes) == ["spleen"]
    (tmp_path / "spleen" / "models" / "best.pt").unlink()
    touch(tmp_path / "net.pt")
    assert recognise_pool(tmp_path).left == {"spleen": "a MONAI bundle without a weights file in models"}


def test_a_bundle_without_a_plain_file_needs_a_choice(tmp_path):
    folder = write_bundle(tmp_path / "spleen")
    (folder / "models" / "model.pt").rename(folder / "models" / "a.pt")
    shutil.copy(folder / "models" / "a.pt", folder / "models" / "b.pt")
    with pytest.raises(InputError, match=r"`weights` must be one of a\.pt, b\.pt, got none, and there is no model\.pt"):
        instantiate(recognise(folder)).open()
    assert set(recognise_pool(folder).nodes) == {"spleen/a", "spleen/b"}


# --- what is not searched ---


@pytest.mark.parametrize("name", ["???", "${oc.env:HOME}"])
def test_a_name_that_a_config_cannot_hold_is_listed(tmp_path, name):
    touch(tmp_path / "net.pt", tmp_path / f"{name}.pt")
    pool = recognise_pool(tmp_path)
    assert list(pool.nodes) == ["net"]
    (reason,) = pool.left.values()
    assert reason.endswith("; rename it")
    with pytest.raises(InputError, match=f"^cannot use .*{re.escape(reason.removeprefix('not read: '))}$"):
        recognise(tmp_path / f"{name}.pt")


def test_links_are_listed_and_not_followed(tmp_path):
    folder, elsewhere = tmp_path / "pool", tmp_path / "elsewhere"
    touch(folder / "net.pt", elsewhere / "far.pt", folder / "README.md")
    (folder / "link.pt").symlink_to(elsewhere / "far.pt")
    (folder / "broken.ckpt").symlink_to(tmp_path / "gone")
    (folder / "folder").symlink_to(elsewhere)
    (folder / "loop").symlink_to(folder)
    (folder / "text").symlink_to(folder / "README.md")
    for named in (folder, f"{folder}/*", f"{folder}/**"):
        pool = recognise_pool(named)
        assert list(pool.nodes) == ["net"]
        assert pool.left == dict.fromkeys(["broken.ckpt", "folder", "link.pt", "loop"], LINK)
        assert pool.other_files == 2
    with pytest.raises(InputError, match=rf"^no source can be scored: folder: {LINK}; loop: {LINK}$"):
        recognise_pool(f"{folder}/*/*.pt")
    pool = recognise_pool([folder, folder / "link.pt", folder / "folder"])
    assert set(pool.nodes) == {"net", "far"}, "a link that is named is followed, and far.pt is one source"
    assert set(pool.left) == {"broken.ckpt", "loop"}


def test_links_in_a_known_folder_are_not_followed(tmp_path):
    place = results(tmp_path / "Dataset501_A", final(1))
    touch(tmp_path / "elsewhere" / "a.pth", tmp_path / "ours" / "source.json")
    (place / "fold_0").mkdir()
    (place / final(0)).symlink_to(tmp_path / "elsewhere" / "a.pth")
    (tmp_path / "ours" / "weights.safetensors").symlink_to(tmp_path / "elsewhere" / "a.pth")
    pool = recognise_pool(tmp_path)
    assert set(pool.nodes) == {"a", "Dataset501_A__3d_fullres"}
    assert pool.nodes["Dataset501_A__3d_fullres"]["fold"] == "1"
    assert pool.left["ours/weights.safetensors"] == LINK
    assert pool.left["ours"] == "source.json without weights.safetensors"
    assert pool.left[f"Dataset501_A/{place.name}/{final(0)}"] == LINK


def test_the_search_ends_at_a_depth_and_says_so(tmp_path):
    deep = tmp_path / "1" / "2" / "3" / "4" / "5"
    touch(deep / "six.pt", deep / "6" / "seven.pt", deep / "6" / "7" / "8" / "nine.pt", deep / "empty" / "x")
    (deep / "empty" / "x").unlink()
    for named in (tmp_path, f"{tmp_path}/*"):
        pool = recognise_pool(named)
        assert list(pool.nodes) == ["six"]
        assert pool.left == {"1/2/3/4/5/6": f"not searched: its content is more than 6 levels below {tmp_path}"}
        assert pool.notes == ("1 folder was not searched: too deep; name their checkpoints as sources",)
    assert set(recognise_pool([tmp_path, deep / "6"]).nodes) == {"six", "seven", "nine"}
    assert recognise_pool([tmp_path, deep / "6"]).left == {}


def test_a_known_folder_at_the_last_depth_is_whole(tmp_path):
    place = results(tmp_path / "1" / "2" / "3" / "4" / "Dataset501_A", final(0), "fold_0/other.pth")
    assert len(place.relative_to(tmp_path).parts) == 6
    pool = recognise_pool(tmp_path)
    assert set(pool.nodes) == {"Dataset501_A__3d_fullres", "other"}
    assert (pool.left, pool.notes[1:]) == ({}, ())


def test_the_search_ends_at_a_number_of_entries_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_search, "ENTRIES", 20)
    touch(*(tmp_path / "a_images" / f"{index}.png" for index in range(30)))
    touch(tmp_path / "net.pt", tmp_path / "z" / "last.pt", tmp_path / "z" / "deep" / "deeper.pt")
    pool = recognise_pool(tmp_path)
    assert list(pool.nodes) == ["net"]
    assert pool.left == {"z": f"not searched: {tmp_path} has more than 20 entries"}
    assert pool.notes[-1].endswith(f"entries of {tmp_path} were searched; name its subfolders as sources to search all")
    monkeypatch.setattr(folder_search, "ENTRIES", 35)
    pool = recognise_pool(tmp_path)
    assert set(pool.nodes) == {"net", "last"}
    assert pool.left == {"z/deep": f"not searched: {tmp_path} has more than 35 entries"}
    monkeypatch.setattr(folder_search, "ENTRIES", 36)
    pool = recognise_pool(tmp_path)
    assert set(pool.nodes) == {"net", "last", "deeper"}
    assert len(pool.notes) == 1, "nothing is cut"


def test_of_too_many_entries_weights_are_read_first(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_search, "ENTRIES", 20)
    touch(*(tmp_path / f"{index:02}.png" for index in range(30)), tmp_path / "z.pt")
    for named in (tmp_path, f"{tmp_path}/*"):
        pool = recognise_pool(named)
        assert (list(pool.nodes), pool.other_files, len(pool.notes)) == (["z"], 19, 2)
    touch(*(tmp_path / f"{index:02}.pt" for index in range(30)))
    for named in (tmp_path, f"{tmp_path}/*"):
        pool = recognise_pool(named)
        assert (list(pool.nodes), pool.other_files) == ([f"{index:02}" for index in range(20)], 0)


def test_hidden_entries_are_counted(tmp_path):
    touch(tmp_path / "net.pt", tmp_path / ".net.pt", tmp_path / ".git" / "a.pt", tmp_path / "b" / ".cache" / "c.pt")
    for named in (tmp_path, f"{tmp_path}/*"):
        pool = recognise_pool(named)
        assert (list(pool.nodes), pool.left, pool.other_files) == (["net"], {}, 1)
        assert pool.notes == (
            "1 other file was not read: hidden, or without the suffix of a weights file",
            "2 hidden folders were not searched",
        )
    assert list(recognise_pool(f"{tmp_path}/.net*").nodes) == [".net"], "what is named is read"


def test_what_is_no_regular_file_is_counted(tmp_path):
    touch(tmp_path / "net.pt")
    os.mkfifo(tmp_path / "pipe.pt")
    for named in (tmp_path, f"{tmp_path}/*"):
        pool = recognise_pool(named)
        assert (list(pool.nodes), pool.other_files) == (["net"], 1)


# --- two formats ---


def save_both(folder: Path, first: str, second: str, *, change=lambda weights: weights, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.clone() for name, tensor in small_network("DynUNet", seed=seed).state_dict().items()}
    save_file(weights, folder / first)
    torch.save(change(weights), folder / second)


def scaled(weights):
    return {name: tensor * 2 for name, tensor in weights.items()}


@pytest.mark.parametrize(
    ("first", "second", "change"),
    [
        ("unet.safetensors", "unet.pt", lambda weights: weights),
        ("unet.safetensors", "unet.pth", lambda weights: {"state_dict": weights, "epoch": 3}),
        ("unet.safetensors", "unet.ckpt", lambda weights: {"state_dict": {f"net.{n}": t for n, t in weights.items()}}),
        ("model.safetensors", "pytorch_model.bin", lambda weights: weights),
    ],
)
def test_two_formats_of_one_model_are_one_source(tmp_path, first, second, change):
    save_both(tmp_path, first, second, change=change)
    pool = recognise_pool(tmp_path)
    assert list(pool.nodes) == [first.partition(".")[0]]
    assert pool.nodes[first.partition(".")[0]]["path"].endswith(first)
    assert pool.left == {second: f"the same weights as {first} in another format"}
    assert recognise(tmp_path)["path"].endswith(first)
    assert len(recognise_pool([tmp_path / second, tmp_path / first]).nodes) == 1, "in a list, too"


@pytest.mark.parametrize(
    ("second", "change"),
    [
        ("unet.pt", scaled),
        ("unet.pt", lambda weights: {name: tensor.double() for name, tensor in weights.items()}),
        ("unet.pt", lambda weights: {name: tensor.view(torch.int32) for name, tensor in weights.items()}),
        ("unet.pt", lambda weights: {name: tensor[None] for name, tensor in weights.items()}),
        ("unet.pt", lambda weights: {n: t for n, t in weights.items() if n != "output_block.conv.conv.bias"}),
        ("unet.pt", lambda weights: [1, 2]),
        ("other.pt", lambda weights: weights),
        ("deep/unet.pt", lambda weights: weights),
    ],
)
def test_other_contents_or_names_are_two_sources(tmp_path, second, change):
    (tmp_path / "deep").mkdir()
    save_both(tmp_path, "unet.safetensors", second, change=change)
    pool = recognise_pool(tmp_path)
    assert (len(pool.nodes), pool.left) == (2, {})


def test_nan_is_equal_to_itself_in_two_formats(tmp_path):
    weights = {"a.weight": torch.tensor([[1.0, float("nan")]]), "b": torch.zeros((), dtype=torch.int64)}
    save_file(weights, tmp_path / "unet.safetensors")
    torch.save(weights, tmp_path / "unet.pt")
    assert list(recognise_pool(tmp_path).left) == ["unet.pt"]


def test_a_copy_in_another_format_does_not_displace_what_is_described(tmp_path):
    ours = write_file(tmp_path / "ours")
    place = write_nnunet(tmp_path / "Dataset501_A")
    content = torch.load(place / final(0), weights_only=False)
    save_file(
        {name: tensor.clone() for name, tensor in content["network_weights"].items()},
        place / "fold_0" / "checkpoint_final.safetensors",
    )
    torch.save(small_network("DynUNet", classes=2).state_dict(), ours / "weights.pt")
    pool = recognise_pool(tmp_path)
    assert {read_by(node) for node in pool.nodes.values()} == {"FileSource", "NnunetSource"}
    assert set(pool.left.values()) == {
        "the same weights as weights.safetensors in another format",
        "the same weights as checkpoint_final.pth in another format",
    }


# --- names ---


def names_of(*paths, **settings) -> set[str]:
    pools = [recognise_pool(list(order), **settings) for order in (paths, paths[::-1])]
    assert set(pools[0].nodes) == set(pools[1].nodes), "the order does not matter"
    assert {name: node["path"] for name, node in pools[0].nodes.items()} == {
        name: node["path"] for name, node in pools[1].nodes.items()
    }
    return set(pools[0].nodes)


def test_names_grow_by_suffix_and_parents_until_they_differ(tmp_path):
    touch(tmp_path / "a" / "best_metric_model.pth", tmp_path / "b" / "best_metric_model.pth", tmp_path / "a" / "one.pt")
    assert names_of(tmp_path) == {"a/best_metric_model", "b/best_metric_model", "one"}
    assert names_of(tmp_path / "a", tmp_path / "b" / "best_metric_model.pth") == names_of(tmp_path)
    touch(tmp_path / "unet.pt", tmp_path / "unet.pth")
    assert {"unet.pt", "unet.pth"} < names_of(tmp_path)
    touch(tmp_path / "a" / "unet.pt")
    place = tmp_path.name
    assert {f"{place}/unet.pt", f"{place}/unet.pth", "a/unet.pt"} < names_of(tmp_path)


def test_equal_names_below_equal_parents_grow_further(tmp_path):
    touch(tmp_path / "x" / "run" / "net.pt", tmp_path / "y" / "run" / "net.pt")
    assert names_of(tmp_path) == {"x/run/net", "y/run/net"}


def test_one_data_set_in_two_result_folders(tmp_path):
    for folder in ("old", "new"):
        results(tmp_path / folder / "Dataset501_A", final(0))
    assert names_of(tmp_path / "old", tmp_path / "new") == {
        "old/Dataset501_A__3d_fullres", "new/Dataset501_A__3d_fullres"
    }  # fmt: skip


def test_a_file_and_a_folder_of_one_name_differ(tmp_path):
    touch(tmp_path / "scratch.pt", tmp_path / "scratch" / "source.json", tmp_path / "scratch" / "weights.safetensors")
    assert names_of(tmp_path) == {"scratch", "scratch.pt"}


def test_addresses_and_functions_grow_too():
    addresses = ["models:/liver/3", "models:/lung/3", "runs:/0123/model"]
    assert list(recognise_pool(addresses).nodes) == ["liver/3", "lung/3", "model"]
    assert list(recognise_pool(["one.nets:make", "two.nets:make", "three:made"]).nodes) == [
        "one.nets:make", "two.nets:make", "made"
    ]  # fmt: skip


def test_a_name_of_the_configs_is_taken(tmp_path):
    touch(tmp_path / "scratch.pt")
    assert names_of(tmp_path, taken=["scratch"]) == {"scratch.pt"}


def test_what_is_left_has_a_name_of_its_own(tmp_path):
    touch(tmp_path / "unet.pt", tmp_path / "far" / "a.pt")
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "unet").symlink_to(tmp_path / "far")
    pool = recognise_pool([tmp_path / "unet.pt", tmp_path / "x", tmp_path / "y"])
    assert (set(pool.nodes), set(pool.left)) == ({"unet"}, {"x/unet", "y/unet"})


def test_the_same_file_named_twice_is_one_source(tmp_path, monkeypatch):
    touch(tmp_path / "net.pt", tmp_path / "inner" / "other.pt")
    write_bundle(tmp_path / "bundle")
    results(tmp_path / "Dataset501_A", final(0), best(0))
    expected = {"net", "other", "bundle", "Dataset501_A__3d_fullres"}
    monkeypatch.chdir(tmp_path)
    paths = [tmp_path, f"{tmp_path}/*", f"{tmp_path}/*.pt", "net.pt", "./inner/..//inner", "bundle/models/model.pt"]
    for path in paths:
        pool = recognise_pool([tmp_path, path])
        assert set(pool.nodes) == expected, path
        assert (read_by(pool.nodes["bundle"]), pool.other_files) == ("BundleSource", 0)


# --- what is not there ---

# from Python 3.13 on a**b means a*b
NO_PATTERN = "no file or folder matches this pattern" if sys.version_info >= (3, 13) else "Invalid pattern: .+"


@pytest.mark.parametrize(
    ("named", "line"),
    [
        ("gone", "source {}/gone not found: it is neither a file nor a folder"),
        ("gone*", r"source {}/gone\*: no file or folder matches this pattern"),
        ("a**b", r"source {}/a\*\*b: " + NO_PATTERN),
        ("empty", r"source {}/empty holds no checkpoint: no weights file \(.+\), no folder saved by this project, .+"),
        ("em*", r"source {}/em\* holds no checkpoint: .+"),
        ("README.md", r"source {}/README\.md is not a weights file: its suffix must be one of .+, got \.md"),
        ("x" * 300, "source {}/x+ not found: it is neither a file nor a folder"),
    ],
)
def test_each_member_must_hold_a_source(tmp_path, named, line):
    touch(tmp_path / "net.pt", tmp_path / "README.md", tmp_path / "empty" / "notes.txt")
    for members in ([tmp_path / "net.pt", tmp_path / named], [tmp_path / named, tmp_path / "net.pt"]):
        with pytest.raises(InputError, match=rf"^{line.format(tmp_path)}$"):
            recognise_pool(members)


def test_a_pool_without_any_source_says_why(tmp_path):
    place = results(tmp_path, "fold_0/progress.png")
    with pytest.raises(InputError, match=rf"^no source can be scored: {place.name}: no checkpoint_final\.pth or .+"):
        recognise_pool(tmp_path)


def test_a_path_that_exists_is_no_pattern(tmp_path):
    touch(tmp_path / "run [1]" / "a*.pt", tmp_path / "run [1]" / "ab.pt", tmp_path / "b?.pt")
    assert list(recognise_pool(tmp_path / "run [1]" / "a*.pt").nodes) == ["a*"]
    assert list(recognise_pool(tmp_path / "b?.pt").nodes) == ["b?"]
    assert set(recognise_pool(tmp_path / "run [1]" / "*.pt").nodes) == {"a*", "ab"}
    assert set(recognise_pool(tmp_path / "run*").nodes) == {"a*", "ab"}


# --- exactly one checkpoint ---


def test_one_checkpoint_of_nnunet_is_recognised_from_each_of_its_paths(tmp_path):
    data = tmp_path / "Dataset501_A"
    place = results(data, final(0), best(1))
    node = {"path": str(place), "name": "Dataset501_A__3d_fullres"}
    for path, settings in (
        (place, {}),
        (data, {}),
        (tmp_path, {}),
        (place / "fold_1", {"fold": "1"}),
        (place / best(1), {"fold": "1", "checkpoint": "best"}),
    ):
        assert recognise(path) == {"_target_": "benchmark.sources.readers.nnunet.NnunetSource"} | node | settings


def test_a_folder_of_several_checkpoints_names_them(tmp_path):
    results(tmp_path / "Dataset501_A", final(0))
    results(tmp_path / "Dataset501_A", final(0), name="nnUNetTrainer__nnUNetPlans__2d")
    touch(tmp_path / "net.pt")
    with pytest.raises(InputError, match=r"holds 2 checkpoints: nnUNet\S+2d, nnUNet\S+3d_fullres; name one of them"):
        recognise(tmp_path / "Dataset501_A")
    with pytest.raises(InputError, match=r"holds 3 checkpoints: Dataset501_A/\S+, Dataset501_A/\S+, net\.pt; name one"):
        recognise(tmp_path)


def test_a_folder_of_one_checkpoint_is_it(tmp_path):
    touch(tmp_path / "run" / "deep" / "net.pt", tmp_path / "run" / "config.yaml")
    node = recognise(tmp_path / "run")
    assert (node["name"], node["path"]) == ("run", str(tmp_path / "run" / "deep" / "net.pt"))
    touch(tmp_path / "bundle" / "b" / "configs" / "metadata.json", tmp_path / "bundle" / "b" / "models" / "model.pt")
    touch(tmp_path / "bundle" / "b" / "models" / "more.pt", tmp_path / "bundle" / "b" / "extra.pt")
    assert recognise(tmp_path / "bundle")["path"] == str(tmp_path / "bundle" / "b"), "a bundle is one, files and all"


def test_a_folder_without_a_checkpoint_says_what_is_in_it(tmp_path):
    results(tmp_path / "Dataset501_A", "fold_0/progress.png")
    with pytest.raises(InputError, match=r"holds no checkpoint: Dataset501_A/\S+: no checkpoint_final\.pth or .+"):
        recognise(tmp_path)
