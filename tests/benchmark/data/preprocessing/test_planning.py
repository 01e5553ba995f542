"""A preparation from nnU-Net's plans does what nnU-Net's own preprocessor does."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation, Scheme
from benchmark.data.preprocessing.planning import Plan, preparation_from_plans
from benchmark.data.preprocessing.preparation import Preparation, Volume, follow
from benchmark.data.tasks.nnunet import NnunetTask
from benchmark.errors import InputError, SkipPair
from tests.benchmark.data.conftest import make_plans

# float32 means and deviations are summed in another order of the axes
TOLERANCE = 1e-5


def by_nnunet(raw, plans, configuration, index=0):
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    manager = PlansManager(plans)
    plan = manager.get_configuration(configuration)
    images = [str(path) for path in sorted((raw / "imagesTr").glob(f"case_{index}_*"))]
    image, labels, _ = plan.preprocessor_class(verbose=False).run_case(
        images,
        str(raw / f"labelsTr/case_{index}.nii.gz"),
        manager,
        plan,
        json.loads((raw / "dataset.json").read_text()),
    )
    return image, np.where(labels[0] < 0, 0, labels[0])


@pytest.mark.nnunet
@pytest.mark.parametrize("configuration", ["3d_fullres", "2d", "3d_lowres"])
@pytest.mark.parametrize("spacing", [(1.3, 1.6, 1.1), (6.0, 1.6, 1.1)])  # the second is resampled slice by slice
def test_a_case_equals_that_of_nnunet(raw, configuration, spacing):
    plans = make_plans()
    plans["configurations"]["3d_fullres"]["spacing"] = list(spacing)
    task = NnunetTask(raw, test_share=0)
    case = task.cases("train", preparation_from_plans(plans, configuration))[0]
    image, labels = by_nnunet(raw, plans, configuration)
    np.testing.assert_allclose(case.image.numpy(), image, atol=TOLERANCE)
    np.testing.assert_array_equal(case.labels.numpy(), labels)
    assert set(np.unique(labels)) == {0, 1, 2}


@pytest.mark.nnunet
@pytest.mark.parametrize("name", ["NoNormalization", "RescaleTo01Normalization", "RGBTo01Normalization"])
def test_every_other_scheme_equals_that_of_nnunet(raw, name):
    plans = make_plans()
    for settings in plans["configurations"].values():
        settings |= {"normalization_schemes": [name, "ZScoreNormalization"], "use_mask_for_norm": [False, False]}
    if name == "RGBTo01Normalization":
        case = Volume(np.full((1, 2, 2, 2), 51.0, np.float32), np.zeros((2, 2, 2), np.int16), (1.0,) * 3)
        assert Preparation(ChannelSchemes((Scheme(name),)))(case).image.max() == np.float32(0.2)
        return
    case = NnunetTask(raw, test_share=0).cases("train", preparation_from_plans(plans, "3d_fullres"))[0]
    np.testing.assert_allclose(case.image.numpy(), by_nnunet(raw, plans, "3d_fullres")[0], atol=TOLERANCE)


@pytest.mark.nnunet
@pytest.mark.slow
def test_nnunet_plans_a_task_once(raw, tmp_path):
    task = NnunetTask(raw, plan=Plan("nnunet", folder=tmp_path))
    assert task.preparation.spacing == (2.0, 1.0, 1.5)
    assert [scheme.name for scheme in task.preparation.normalisation.schemes] == [
        "CTNormalization",
        "ZScoreNormalization",
    ]
    (kept,) = tmp_path.glob("*.json")
    written = kept.stat().st_mtime_ns
    assert NnunetTask(raw, plan=Plan("nnunet", folder=tmp_path, configuration="2d")).preparation.spacing == (1.0, 1.5)
    assert kept.stat().st_mtime_ns == written
    with pytest.raises(InputError, match=r"plans: configuration must be one of 2d, 3d_fullres, got 3d_cascade"):
        NnunetTask(raw, plan=Plan("nnunet", folder=tmp_path, configuration="3d_cascade")).preparation  # noqa: B018


def test_a_preparation_is_plain_data():
    preparation = preparation_from_plans(make_plans(), "3d_fullres")
    assert json.loads(json.dumps(asdict(preparation)))["spacing"] == [1.3, 1.6, 1.1]
    assert hash(preparation) == hash(preparation_from_plans(make_plans(), "3d_fullres"))


def test_each_part_follows_whom_it_is_told_to():
    source = preparation_from_plans(make_plans(), "3d_fullres")
    target = Preparation(Normalisation((0.0, 1.0)))
    assert follow(source, target) == target
    assert follow(source, target, intensities="source", spacing="source") == source
    assert follow(source, target, intensities="source") == Preparation(source.normalisation)
    assert follow(source, target, spacing="source") == replace(source, normalisation=target.normalisation)
    assert follow(None, target, intensities="source", spacing="source") == target


def test_a_mask_needs_no_crop():
    image = np.zeros((1, 4, 4, 4), np.float32)
    image[0, 1:3, 1:3, 1:3] = np.arange(1, 9).reshape(2, 2, 2)
    done = Preparation(ChannelSchemes((Scheme("ZScoreNormalization", masked=True),)))(
        Volume(image, np.zeros((4, 4, 4), np.int16), (1.0,) * 3)
    )
    inside = done.image[image.transpose(0, 3, 2, 1) != 0]
    assert done.image.shape == image.shape
    assert abs(inside.mean()) < TOLERANCE
    assert abs(inside.std() - 1) < TOLERANCE


def test_one_scheme_is_for_all_channels_and_several_fit_their_own():
    volume = Volume(np.ones((2, 1, 3, 3), np.float32), np.zeros((1, 3, 3), np.int16), (1.0,) * 3)
    alike, other = Scheme("NoNormalization"), Scheme("RescaleTo01Normalization")
    assert Preparation(ChannelSchemes((alike,)))(volume).image.shape == (2, 1, 3, 3)
    assert Preparation(ChannelSchemes((alike, alike, alike)))(volume).image.shape == (2, 1, 3, 3)
    with pytest.raises(
        SkipPair, match=r"the plan normalises 3 channels in different ways, but the task has 2 channels"
    ):
        Preparation(ChannelSchemes((alike, other, other)))(volume)


BAD = {
    "another configuration": ({}, "3d_high", r"configuration must be one of 3d_fullres, 2d, 3d_lowres, got 3d_high"),
    "no statistics": (
        {"foreground_intensity_properties_per_channel": {}},
        "2d",
        r"cannot use 2d as a configuration of nnU-Net v2: mean",
    ),
    "no axes": ({"transpose_forward": None}, "2d", r"cannot use 2d as a configuration of nnU-Net v2: "),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", BAD)
def test_plans_that_are_none_are_told(case):
    changes, configuration, line = BAD[case]
    with pytest.raises(InputError, match=line):
        preparation_from_plans(make_plans(**changes), configuration)


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("normalization_schemes", ["os.system", "x"], r"normalization_schemes must be one of .*, got os\.system"),
        ("resampling_fn_data", "os.system", r"resampling_fn must be one of .*, got os\.system"),
    ],
)
def test_plans_that_name_other_code_are_refused(key, value, line):
    plans = make_plans()
    plans["configurations"]["2d"][key] = value
    with pytest.raises(InputError, match=line):
        preparation_from_plans(plans, "2d")
