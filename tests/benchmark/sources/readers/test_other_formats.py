"""Model files that are not read: a pool lists them with what they are, a file that is named ends in one line."""

import shutil

import pytest
import torch

from benchmark.errors import InputError
from benchmark.sources.readers.other_formats import VERSION_1, other_format
from benchmark.sources.readers.recognise import recognise, recognise_pool
from benchmark.sources.weights.safe_load import TORCHSCRIPT, read_file
from tests.checkpoints import small_network, write_bundle, write_nnunet, write_weights


@pytest.fixture
def pool(tmp_path):
    """A folder with a source that is read."""
    write_weights(small_network("UNet"), tmp_path / "pool" / "good.pt")
    return tmp_path / "pool"


def packed(folder, path):
    return shutil.make_archive(str(path.with_suffix("")), "zip", folder.parent, folder.name)


def test_an_exported_model_is_named_with_the_command_that_unpacks_it(pool, tmp_path):
    packed(write_nnunet(tmp_path / "results"), pool / "export.zip")
    packed(write_bundle(tmp_path / "spleen"), pool / "bundle.zip")
    (tmp_path / "weights").mkdir()
    shutil.copy(pool / "good.pt", tmp_path / "weights" / "inner.pt")
    packed(tmp_path / "weights", pool / "more.zip")
    found = recognise_pool(pool)
    assert list(found.nodes) == ["good"]
    assert found.left == {
        "export.zip": "an exported model of nnU-Net; unpack it, such as with "
        "`nnUNetv2_install_pretrained_model_from_zip export.zip`, and name the folder",
        "bundle.zip": "a packed MONAI bundle; unpack it, such as with `python -m zipfile -e bundle.zip bundle`, and "
        "name the folder",
        "more.zip": "an archive with the weights file inner.pt; unpack it, such as with "
        "`python -m zipfile -e more.zip more`, and name the folder",
    }


def test_an_archive_without_a_model_is_another_file(pool, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.nii.gz").write_bytes(b"image")
    packed(tmp_path / "images", pool / "images.zip")
    (pool / "broken.zip").write_bytes(b"PK nothing")
    found = recognise_pool(pool)
    assert found.left == {}
    assert found.other_files == 2


def test_models_of_version_1_are_named_once(pool, tmp_path):
    results = pool / "nnUNetTrainerV2__nnUNetPlansv2.1"
    for fold in range(2):
        model = results / f"fold_{fold}" / "model_final_checkpoint.model"
        model.parent.mkdir(parents=True)
        model.write_bytes(b"weights")
        model.with_name(f"{model.name}.pkl").write_bytes(b"plans")
    (results / "plans.pkl").write_bytes(b"plans")
    found = recognise_pool(pool)
    assert sorted(found.left.values()) == [VERSION_1] * 2
    with pytest.raises(InputError, match="is a model of nnU-Net v1, and only nnU-Net v2 is read"):
        recognise(results / "fold_0" / "model_final_checkpoint.model")
    shutil.rmtree(results / "fold_0")
    shutil.rmtree(results / "fold_1")
    assert other_format(results / "plans.pkl") == VERSION_1
    assert "an archive with a model of nnU-Net v1" in str(other_format(tmp_path / packed(results, tmp_path / "v1.zip")))


@pytest.mark.parametrize("name", ["script.pt", "script.ts"])
def test_a_torchscript_program_is_named_and_never_run(tmp_path, name):
    torch.jit.script(torch.nn.Conv3d(1, 2, 1)).save(str(tmp_path / name))
    with pytest.raises(InputError, match="a TorchScript program, which would run code") as error:
        read_file(tmp_path / name) if name.endswith(".pt") else recognise(tmp_path / name)
    assert TORCHSCRIPT in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_another_framework_is_named(pool):
    (pool / "unet.onnx").write_bytes(b"onnx")
    (pool / "viewer.ts").write_text("export const viewer = 1")  # TypeScript
    assert recognise_pool(pool).left == {"unet.onnx": "a model of ONNX, and only weights of PyTorch are read"}
