"""A folder of checkpoints as they lie about, nested and mixed: each is scored or listed with a true reason."""

import json
import pickle
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from benchmark.ranking.inputs import source_nodes
from benchmark.sources.weights.safe_load import SUFFIXES
from tests.checkpoints import small_network, write_bundle, write_file, write_nnunet, write_weights

NAMES = "checkpoint_final.pth or checkpoint_best.pth or checkpoint_latest.pth"
NOT_TORCH = r"cannot read .+: not a file that torch\.save wrote.*"
LINK = "a symbolic link, and links are not followed; name it as a source of its own to have it read"

SCORED = {
    "ours",
    "extra",
    "unet.pt",
    "unet.pth",
    "bare",
    "last",
    "best",
    "wrapped",
    "swin_hf/model",
    "plain_hf/model",
    "pair",
    "site_a/best_metric_model",
    "site_b/best_metric_model",
    "a[1], b",
    "Dataset501_Made__nnUNetTrainer__3d_fullres",
    "Dataset501_Made__nnUNetTrainer_100epochs__3d_fullres",
    "Dataset502_Made__3d_fullres",
    "Dataset504_Made__3d_fullres",
    "Dataset504_Made__2d",
    "spleen",
    "kidney",
    "kidney/model_fold1",
}
SKIPPED = {
    "cut": NOT_TORCH,
    "text": NOT_TORCH,
    "empty": NOT_TORCH,
    "optimiser": r".*must hold a state dict, got the keys state, param_groups",
    "numbers": r".*must hold a state dict, got list",
    "whole": r"cannot read .+: not a file that torch\.save wrote, but another pickle; if you trust it, load it .+",
    "not_finite": r".*NaN.*",
    "elsewhere": r"source elsewhere: .+",
    "checkpoint_epoch_50": NOT_TORCH,
}
LEFT = {
    "swin_hf/pytorch_model.bin": "the same weights as model.safetensors in another format",
    "pair.pt": "the same weights as pair.safetensors in another format",
    "nnunet/Dataset503_Made/nnUNetTrainer__nnUNetPlans__3d_fullres": f"no {NAMES} in fold_0, fold_1 of .+",
    "bundles/lung": "a MONAI bundle without a weights file in models",
    "half": "source.json without weights.safetensors",
    "link.pt": LINK,
    "linked": LINK,
    "gone.safetensors": LINK,
    "deep/2/3/4/5/6": "not searched: its content is more than 6 levels below .+",
}
OTHER_FILES = 8


def network(seed: int):
    return small_network("DynUNet", seed=seed)


def loose(folder: Path) -> None:
    """State dicts in each suffix and wrapper."""
    write_weights(network(1), folder / "unet.pt")
    write_weights(network(2), folder / "unet.pth")
    write_weights(network(3), folder / "bare.bin")
    write_weights(network(4), folder / "lightning" / "version_0" / "checkpoints" / "last.ckpt")
    write_weights(network(4), folder / "lightning" / "version_0" / "checkpoints" / "best.ckpt")
    torch.save({"model_state_dict": network(5).state_dict(), "optimizer": {}}, folder / "wrapped.pt")
    write_weights(network(6), folder / "swin_hf" / "model.safetensors")
    torch.save(network(6).state_dict(), folder / "swin_hf" / "pytorch_model.bin")
    write_weights(network(7), folder / "plain_hf" / "model.safetensors")
    (folder / "plain_hf" / "config.json").write_text("{}", encoding="utf-8")
    write_weights(network(8), folder / "pair.pt")
    write_weights(network(8), folder / "pair.safetensors")
    for seed, site in enumerate(("site_a", "site_b"), 9):
        write_weights(network(seed), folder / site / "best_metric_model.pth")
    write_weights(network(11), folder / "a[1], b.pt")


def described(folder: Path) -> None:
    """Ours, nnU-Net's results and bundles: finished, unfinished, several in one folder."""
    write_file(folder / "ours")
    write_weights(network(12), folder / "ours" / "extra.pt")
    shutil.copytree(folder / "ours", folder / "half", ignore=shutil.ignore_patterns("*.safetensors", "*.pt"))
    results = folder / "nnunet"
    first = write_nnunet(results / "Dataset501_Made")
    write_nnunet(results / "Dataset501_Made", fold="1")
    (first / "fold_0" / "checkpoint_epoch_50.pth").touch()
    shutil.copytree(first, first.with_name("nnUNetTrainer_100epochs__nnUNetPlans__3d_fullres"),
                    ignore=shutil.ignore_patterns("fold_1", "checkpoint_epoch_50.pth"))  # fmt: skip
    latest = write_nnunet(results / "Dataset502_Made") / "fold_0"
    (latest / "checkpoint_final.pth").rename(latest / "checkpoint_latest.pth")
    unfinished = write_nnunet(results / "Dataset503_Made")
    (unfinished / "fold_0" / "checkpoint_final.pth").unlink()
    (unfinished / "fold_1").mkdir()
    for dims in (2, 3):
        write_nnunet(results / "Dataset504_Made", dims=dims)
    write_bundle(folder / "bundles" / "spleen")
    kidney = write_bundle(folder / "bundles" / "kidney")
    torch.save(small_network("UNet", seed=13).state_dict(), kidney / "models" / "model_fold1.pt")
    (write_bundle(folder / "bundles" / "lung") / "models" / "model.pt").unlink()


def broken(folder: Path) -> None:
    """Files with the suffix of weights that hold none, and what is no source at all."""
    (folder / "cut.pt").write_bytes((folder / "unet.pt").read_bytes()[:500])
    (folder / "text.pth").write_text("these are not weights", encoding="utf-8")
    (folder / "empty.ckpt").touch()
    torch.save(torch.optim.Adam(network(0).parameters()).state_dict(), folder / "optimiser.pt")
    torch.save([1, 2, 3], folder / "numbers.bin")
    (folder / "whole.pth").write_bytes(pickle.dumps(Path("a whole object"), protocol=2))
    weights = network(0).state_dict()
    weights["bottleneck.conv1.conv.weight"][0] = float("nan")
    torch.save(weights, folder / "not_finite.pt")
    torch.save({"blob.weight": torch.ones(3, 3)}, folder / "elsewhere.pt")
    write_weights(network(0), folder / "deep" / "2" / "3" / "4" / "5" / "6" / "7" / "8" / "far.pt")
    outside = folder.parent / "outside"
    write_weights(network(0), outside / "linked.pt")
    (folder / "link.pt").symlink_to(outside / "linked.pt")
    (folder / "linked").symlink_to(outside)
    (folder / "gone.safetensors").symlink_to(outside / "gone")
    (folder / "nothing").mkdir()


def others(folder: Path) -> None:
    """Files that are no weights, seven here and config.json of plain_hf, and a hidden folder."""
    for name in (
        "README.md",
        "images/a.png",
        "images/b.nii.gz",
        "log.json",
        ".hidden.pt",
        ".DS_Store",
        "half/note.txt",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x", encoding="utf-8")
    write_weights(network(0), folder / ".cache" / "cached.pt")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mixed") / "pool"
    folder.mkdir()
    for make in (loose, described, broken, others):
        make(folder)
    return folder


def test_a_folder_and_a_pattern_give_the_same_sources(mixed):
    found = [source_nodes([named], trust=False, overrides=[]) for named in (str(mixed), f"{mixed}/*")]
    assert set(found[0].nodes) == SCORED | set(SKIPPED)
    assert set(found[0].left) == set(LEFT)
    assert found[1] == found[0]


def test_every_weights_file_is_a_source_or_listed_or_belongs_to_one(mixed):
    """Counted from the disk, not from the lists above."""
    found = source_nodes([str(mixed)], trust=False, overrides=[])
    places = {Path(node["path"]) for node in found.nodes.values()} | {mixed / name for name in found.left}
    files = {path for path in mixed.rglob("*") if path.suffix in SUFFIXES and not path.name.startswith(".")}
    visible = {path for path in files if ".cache" not in path.parts}
    assert len(visible) > 30
    for path in visible:
        assert not places.isdisjoint({path, *path.parents}), path


def test_every_entry_of_a_mixed_folder_is_scored_or_listed(mixed, prepared, command_line, tmp_path):
    done = command_line(
        "rank", f"task={prepared / 'synthetic' / 'synthetic_ball'}", f"source={mixed}", "metric=[logme]", "draws=2",
        "draws_of_points=1", f"output_dir={tmp_path}/outputs", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db",
    )  # fmt: skip
    assert done.code == 0, done.err
    written = json.loads((tmp_path / "outputs/rank/synthetic_ball/ranking.json").read_text(encoding="utf-8"))
    assert {row["source"] for row in written["ranking"]} == SCORED
    assert all(row["logme"] is not None for row in written["ranking"])
    expected = SKIPPED | LEFT
    assert set(written["skipped"]) == set(expected)
    for name, reason in expected.items():
        assert re.fullmatch(reason, written["skipped"][name]), written["skipped"][name]
    assert written["other_files"] == OTHER_FILES
    assert written["search"] == [
        f"{OTHER_FILES} other files were not read: hidden, or without the suffix of a weights file",
        "1 hidden folder was not searched",
        "1 folder was not searched: too deep; name their checkpoints as sources",
    ]
    latest, first = (written["notes"][f"Dataset50{i}_Made__{rest}"] for i, rest in (
        (2, "3d_fullres"), (1, "nnUNetTrainer__3d_fullres")))  # fmt: skip
    assert latest[0] == "fold_0, checkpoint_latest.pth"
    assert "the training may be unfinished" in latest[1]
    assert first[1] == "other checkpoints of the results folder: fold_1/checkpoint_final.pth"
    shown = " ".join(done.out.split())
    assert written["search"][0] in shown
    table = pd.read_csv(tmp_path / "outputs/rank/synthetic_ball/ranking.csv")
    assert sorted(table["source"]) == sorted({*SCORED, *expected})
