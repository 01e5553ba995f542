"""nnU-Net takes a written results folder: it prepares the same input from a file, and predicts the same labels."""

import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor

from benchmark.data.files.cases import CaseFiles, read_case
from benchmark.data.files.description import Labelling
from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation, Scheme
from benchmark.data.preprocessing.preparation import Preparation, Resampling
from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.readers.nnunet import NnunetSource
from benchmark.sources.readers.recognise import recognise
from benchmark.sources.writers import nnunet as writer
from benchmark.sources.writers.nnunet import write_results_folder
from benchmark.training.prediction import predict
from tests.benchmark.sources.readers import test_nnssl as nnssl
from tests.checkpoints import small_network, write_nnunet, write_weights

LABELS = {0: "nothing", 1: "spleen", 2: "left kidney", 3: "right kidney"}
NEAR = 1e-4  # of z-scores up to 4: nnU-Net divides by n, and torch by n - 1 of at least 20,000 voxels
EQUAL = 0.999  # of all voxels: nnU-Net sums logits in float16, and those of a random network are close to each other
CT = ChannelSchemes((Scheme("CTNormalization", mean=3.0, std=20.0, low=-50.0, high=80.0),))
TORCH = (("is_seg", False), ("force_separate_z", False), ("memefficient_seg_resampling", False))
PREPARATIONS = {
    "a window, as stored": Preparation(Normalisation((-50.0, 80.0))),
    "a plan": Preparation(CT, spacing=(1.5, 0.9, 1.2), transpose=(1, 0, 2), crop=True),
    "torch": Preparation(CT, spacing=(1.5, 0.9, 1.2), transpose=(0, 1, 2), crop=True,
                         resampling=Resampling("resample_torch_fornnunet", TORCH)),
    "z-scores of the crop": Preparation(crop=True, spacing=(1.0, 1.0, 1.0), transpose=(2, 1, 0)),
    "z-scores of a mask": Preparation(ChannelSchemes((Scheme("ZScoreNormalization", masked=True),)),
                                      transpose=(0, 1, 2)),
}  # fmt: skip


def stored_case(folder: Path, shape=(32, 32, 32), spacing=(0.8, 0.9, 1.7)) -> CaseFiles:
    """A volume with zeros at its borders, in files as nnU-Net names them."""
    draw = np.random.default_rng(5)
    image = draw.normal(10, 30, shape).astype(np.float32)
    image[:3], image[:, -2:] = 0, 0
    labels = (image > 60).astype(np.uint8)
    (folder / "images").mkdir(parents=True)
    paths = folder / "images" / "case_0000.nii.gz", folder / "case.nii.gz"
    for array, path in zip((image, labels), paths, strict=True):
        nib.save(nib.Nifti1Image(array, np.diag([*spacing, 1])), path)
    return CaseFiles("case", paths[:1], paths[1])


def prepared_case(files: CaseFiles, preparation: Preparation):
    labelling = Labelling(classes={value: value for value in range(2)}, names=("nothing", "spleen"))
    return read_case(files, preparation, labelling=labelling, channels=1, stated="stated", limit_gib=1.0)


def tuned(model: Model, preparation: Preparation | None, **changes) -> Model:
    """A model with a head for four classes, as after fine-tuning; its weights are drawn at random."""
    network = model.arch.build(channels=1, classes=len(LABELS), seed=11)
    values = {"weights": network.state_dict(), "classes": len(LABELS), "labels": LABELS, "preparation": preparation,
              "patch": model.arch.fit((32, 32, 32)), "name": "winner", "head": True}  # fmt: skip
    return replace(model, **(values | changes))


def opened(path: Path) -> Model:
    return instantiate(recognise(path), _convert_="all").open()


def plain(folder: Path, dims: int = 3) -> Model:
    cls = "PlainConvUNet" if dims == 3 else "ResidualEncoderUNet"
    return opened(write_nnunet(folder / "Dataset501_Made", dims=dims, cls=cls))


def predictor(folder: Path, **settings: bool) -> nnUNetPredictor:
    made = nnUNetPredictor(perform_everything_on_device=False, device=torch.device("cpu"), allow_tqdm=False, **settings)
    made.initialize_from_trained_model_folder(str(folder), use_folds=(0,))
    return made


@pytest.mark.parametrize("dims", [3, 2])
@pytest.mark.parametrize("name", PREPARATIONS)
def test_nnunet_prepares_the_same_input(name, dims, tmp_path):
    own = PREPARATIONS[name]
    if dims == 2:
        own = replace(own, spacing=own.spacing and own.spacing[-2:], transpose=own.transpose or (0, 1, 2))
    written = write_results_folder(tuned(plain(tmp_path, dims), own), tmp_path / "Dataset001_Winner")
    assert written.reason == ""
    assert bool(written.notes) != own.crop
    nnunet, files = predictor(written.path), stored_case(tmp_path)
    image, _, _ = DefaultPreprocessor(verbose=False).run_case(
        [str(files.images[0])], None, nnunet.plans_manager, nnunet.configuration_manager, nnunet.dataset_json
    )
    ours = prepared_case(files, replace(own, crop=True)).image.numpy()
    assert image.shape == ours.shape
    assert np.abs(image - ours).max() <= NEAR


@pytest.mark.parametrize("dims", [3, 2])
def test_nnunet_predicts_the_same_labels(dims, tmp_path):
    """In one window of the whole volume, so that neither overlaps nor edges count.

    Its Gaussian weights are near 0 in the corners, where nnU-Net's float16 would be rounded most.
    """
    axes = (1, 2, 0) if dims == 3 else (1, 0, 2)
    own = Preparation(CT, transpose=axes, crop=True)
    model = tuned(plain(tmp_path, dims), own)
    written = write_results_folder(model, tmp_path / "Dataset001_Winner")
    files = stored_case(tmp_path, shape=(35, 34, 32))  # 32 voxels along each axis in the box of nonzero voxels
    case = prepared_case(files, own)
    assert case.shape == (32, 32, 32)
    ((_, labels),) = predict(model.network(), [case], window=model.patch)
    nnunet = predictor(written.path, use_gaussian=False)
    (theirs,) = nnunet.predict_from_files_sequential([[str(files.images[0])]], None)
    theirs = np.transpose(theirs, axes)
    box = tuple(slice(a.min(), a.max() + 1) for a in np.nonzero(np.transpose(stored(files), axes)))
    equal = float((theirs[box] == labels.numpy()).mean())
    print(f"equal voxels: {equal:.6f}")
    assert equal >= EQUAL
    assert set(np.unique(theirs)) <= set(LABELS)
    assert len(np.unique(theirs)) > 2


def stored(files: CaseFiles) -> np.ndarray:
    """The image (Z, Y, X) as stored."""
    return np.asarray(nib.load(files.images[0]).dataobj).T


@pytest.mark.slow
def test_nnunets_own_command_predicts_what_its_predictor_does(tmp_path):
    own = Preparation(CT, spacing=(1.0, 1.0, 1.0), transpose=(0, 1, 2), crop=True)
    written = write_results_folder(tuned(plain(tmp_path), own), tmp_path / "Dataset001_Winner")
    files = stored_case(tmp_path, shape=(40, 36, 34))
    call = "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as main; main()"
    arguments = ["-i", tmp_path / "images", "-o", tmp_path / "out", "-m", written.path, "-f", "0", "-device", "cpu",
                 "-npp", "1", "-nps", "1", "--disable_progress_bar"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", call, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (theirs,) = predictor(written.path).predict_from_files_sequential([[str(files.images[0])]], None)
    assert np.array_equal(np.asarray(nib.load(tmp_path / "out" / "case.nii.gz").dataobj).T, theirs)


def test_the_folder_is_read_as_the_same_model(tmp_path):
    own = Preparation(CT, spacing=(1.5, 0.9, 1.2), transpose=(1, 0, 2), crop=True)
    model = tuned(plain(tmp_path), own)
    written = write_results_folder(
        model, tmp_path / "Dataset001_Winner", channel_names=["CT of the abdomen"], mirroring=(0, 2), cases=12
    )
    assert written.path == tmp_path / "Dataset001_Winner" / "nnUNetTrainer__nnUNetPlans__3d_fullres"
    read = opened(tmp_path / "Dataset001_Winner")
    assert (read.preparation, read.patch, read.channels) == (own, model.patch, 1)
    assert read.labels == LABELS | {0: "background"}
    assert read.facts["cases"] == 12
    assert read.arch.taps == model.arch.taps
    image = torch.randn(1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    assert torch.equal(read.network()(image), model.network()(image))
    nnunet = predictor(written.path)
    assert nnunet.allowed_mirroring_axes == (0, 2)
    assert nnunet.dataset_json["channel_names"] == {"0": "CT of the abdomen"}
    assert write_results_folder(model, tmp_path / "Dataset001_Winner").path == written.path, "it is replaced"
    assert predictor(written.path).allowed_mirroring_axes is None


def test_a_folder_that_is_read_with_other_values_is_not_written(tmp_path, monkeypatch):
    class Changed(NnunetSource):
        def open(self) -> Model:
            read = super().open()
            return replace(read, weights={name: tensor + 1 for name, tensor in read.weights.items()})

    model = tuned(plain(tmp_path), PREPARATIONS["a plan"])
    monkeypatch.setattr(writer, "NnunetSource", Changed)
    with pytest.raises(InputError, match=r"^cannot write winner for nnU-Net: the values of \S+ would change$"):
        write_results_folder(model, tmp_path / "Dataset001_Winner")
    assert not list(tmp_path.glob("Dataset001_Winner/nnUNet*"))


def test_tensors_with_several_names_are_stored_once(tmp_path):
    model = tuned(plain(tmp_path), PREPARATIONS["a plan"])
    written = write_results_folder(model, tmp_path / "Dataset001_Winner")
    names = model.network().state_dict()
    once = {tensor.data_ptr(): tensor.nbytes for tensor in names.values()}
    assert len(once) < len(names)
    assert (written.path / "fold_0" / "checkpoint_final.pth").stat().st_size < 1.5 * sum(once.values())


def test_a_network_of_nnssl_becomes_one_of_nnunet(tmp_path):
    network, plan = nnssl.narrow()
    nnssl.save(tmp_path / "checkpoint_final.pth", network.state_dict(), plan, trainer="BaseMAETrainer")
    model = tuned(opened(tmp_path / "checkpoint_final.pth"), PREPARATIONS["a plan"])
    written = write_results_folder(model, tmp_path / "Dataset001_Winner")
    image = torch.randn(1, 1, *model.patch, generator=torch.Generator().manual_seed(0))
    network = predictor(written.path).network
    with torch.no_grad():
        assert torch.equal(network(image), model.network().eval()(image))


def test_the_norm_of_a_trainer_is_in_the_plans(tmp_path):
    place = write_nnunet(tmp_path / "Dataset501_Made")
    path = place / "fold_0" / "checkpoint_final.pth"
    plain_model = opened(place)
    cls, settings, needed = plain_model.arch.network.args
    changed = settings | {"norm_op": "torch.nn.modules.batchnorm.BatchNorm3d"}
    arch = replace(plain_model.arch, network=partial(plain_model.arch.network.func, cls, changed, needed))
    assert path.is_file()
    model = tuned(replace(plain_model, arch=arch), PREPARATIONS["a plan"])
    written = write_results_folder(model, tmp_path / "Dataset001_Winner")
    assert any("running_mean" in name for name in predictor(written.path).network.state_dict())


CHANNELS = ChannelSchemes((Scheme("NoNormalization"), Scheme("ZScoreNormalization")))
REFUSED = {
    "a turned volume": ({"preparation": Preparation(CT, orientation="RAS")}, "its volumes are turned to RAS, and"),
    "no preparation": ({"preparation": None}, "how its volumes are prepared is not known"),
    "a part that is not known": (
        {"preparation": Preparation(CT, unknown=("spacing",))}, "how its volumes are prepared is not known"),
    "z-scores of volumes": ({"preparation": Preparation()}, "its ZScoreNormalization is of whole volumes, and"),
    "schemes of other channels": ({"preparation": Preparation(CHANNELS)}, "the plan normalises 2 channels in"),
    "no patch": ({"patch": None}, "the size of its windows is not known"),
    "labels with a gap": (
        {"labels": {0: "a", 1: "b", 3: "c", 4: "d"}}, r"its labels must be 0 to 3, got \[0, 1, 3, 4\]"),
    "no labels": ({"labels": {}}, r"its labels must be 0 to 3, got \[\]"),
    "two classes of one name": (
        {"labels": {0: "a", 1: "b", 2: "c", 3: "b"}}, "nnU-Net cannot have a class named b among b, c, b"),
    "a class with a meaning": ({"labels": {0: "a", 1: "ignore", 2: "c", 3: "b"}}, "nnU-Net cannot have a class named"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_nnunets_files_cannot_say_writes_nothing(name, tmp_path):
    changes, message = REFUSED[name]
    values = {"preparation": Preparation(CT)} | changes
    model = tuned(plain(tmp_path), values.pop("preparation"), **values)
    written = write_results_folder(model, tmp_path / "Dataset001_Winner")
    assert written.path is None
    assert re.match(message, written.reason), written.reason
    assert "\n" not in written.reason
    assert not (tmp_path / "Dataset001_Winner").exists()


def test_other_networks_and_files_write_nothing(tmp_path):
    other = opened(write_weights(small_network("DynUNet"), tmp_path / "dynunet.pt"))
    written = write_results_folder(tuned(other, Preparation(CT)), tmp_path / "Dataset001_Winner")
    assert written.reason == "its network (dynunet) is not one that nnU-Net's plans describe"
    model = tuned(plain(tmp_path), Preparation(CT))
    written = write_results_folder(model, tmp_path / "Dataset001_Winner", ending=".mat")
    assert written.reason == "nnU-Net reads no files that end in .mat"
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"^cannot write .+/file/Dataset001/nnUNetTrainer__nnUNetPlans__3d_fullres: "):
        write_results_folder(model, tmp_path / "file" / "Dataset001")
