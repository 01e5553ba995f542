"""nnU-Net's plans follow a preparation: what it says is written, what it leaves open stays as planned."""

import copy

import pytest

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation, Scheme
from benchmark.data.preprocessing.planning import preparation_from_plans
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.errors import InputError
from benchmark.training.nnunet.plans import adapt

STATISTICS = {"mean": 50.0, "std": 20.0, "percentile_00_5": -10.0, "percentile_99_5": 90.0, "median": 48.0}
RESAMPLING = {"force_separate_z": None, "order": 3, "order_z": 0}
PLANS = {
    "plans_name": "nnUNetPlans",
    "dataset_name": "Dataset001_Made",
    "original_median_spacing_after_transp": [5.0, 0.8, 0.7],
    "original_median_shape_after_transp": [40, 120, 110],
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "foreground_intensity_properties_per_channel": {"0": STATISTICS},
    "configurations": {
        "3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 2,
            "patch_size": [32, 64, 64],
            "spacing": [5.0, 0.8, 0.7],
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": {"is_seg": False, **RESAMPLING},
            "resampling_fn_seg_kwargs": {"is_seg": True, **RESAMPLING, "order": 1},
            "architecture": {
                "arch_kwargs": {
                    "n_stages": 4,
                    "features_per_stage": [32, 64, 128, 256],
                    "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]],
                    "n_conv_per_stage": [2, 2, 2, 2],
                    "n_conv_per_stage_decoder": [2, 2, 2],
                    "conv_bias": True,
                }
            },
        },
    },
}
PLANS["configurations"]["2d"] = PLANS["configurations"]["3d_fullres"] | {
    "spacing": [0.8, 0.7],
    "patch_size": [64, 64],
}


def adapted(preparation, configuration="3d_fullres", **settings):
    before = copy.deepcopy(PLANS)
    made = adapt(PLANS, configuration, preparation, **settings)
    assert before == PLANS  # the planner's own plans stay as they are
    return made, made["configurations"][configuration]


def test_a_plan_s_own_preparation_changes_nothing_that_nnunet_reads():
    own = preparation_from_plans(PLANS, "3d_fullres")
    made, chosen = adapted(own)
    assert preparation_from_plans(made, "3d_fullres") == own
    names = {"data_identifier"}
    before = PLANS["configurations"]["3d_fullres"]
    assert {key: value for key, value in chosen.items() if key not in names} == {
        key: value for key, value in before.items() if key not in names
    }
    assert {key: value for key, value in made.items() if key not in ("plans_name", "configurations")} == {
        key: value for key, value in PLANS.items() if key not in ("plans_name", "configurations")
    }


@pytest.mark.parametrize(
    "preparation",
    [
        Preparation(ChannelSchemes((Scheme("ZScoreNormalization", masked=True),)), (1.0, 2.0, 3.0), (1, 0, 2), True),
        Preparation(ChannelSchemes((Scheme("NoNormalization"),)), (1.5, 1.5, 1.5), (2, 1, 0), True),
    ],
)
def test_every_part_of_a_preparation_is_read_back(preparation):
    made, _ = adapted(preparation)
    assert preparation_from_plans(made, "3d_fullres") == preparation
    forward, backward = made["transpose_forward"], made["transpose_backward"]
    assert [forward[axis] for axis in backward] == [0, 1, 2]


def test_a_window_is_nnunet_s_clipping_to_minus_one_and_one():
    made, _ = adapted(Preparation(Normalisation((-160.0, 240.0))))
    scheme = preparation_from_plans(made, "3d_fullres").normalisation.schemes[0]
    assert (scheme.low, scheme.high) == (-160.0, 240.0)
    assert [(bound - scheme.mean) / scheme.std for bound in (scheme.low, scheme.high)] == [-1.0, 1.0]


def test_the_planned_spacing_follows_the_axes():
    """The stored order is (X, Y, Z), nnU-Net's (Z, Y, X) read backwards."""
    made, chosen = adapted(Preparation())
    assert made["transpose_forward"] == [2, 1, 0]
    assert chosen["spacing"] == [0.7, 0.8, 5.0]
    assert chosen["normalization_schemes"] == ["ZScoreNormalization"]
    _, flat = adapted(Preparation(), "2d")
    assert flat["spacing"] == [0.8, 5.0]  # slices along X hold Y and Z; a 2D plan knows Z by its median


def test_cases_are_preprocessed_anew_only_where_that_differs():
    _, one = adapted(Preparation(), patch=(16, 16, 16), batch=1)
    _, other = adapted(Preparation(), patch=(32, 32, 32), features=(8, 16))
    assert one["data_identifier"] == other["data_identifier"]
    assert one["patch_size"] == [16, 16, 16]
    assert one["batch_size"] == 1
    _, spaced = adapted(Preparation(spacing=(1.0, 1.0, 1.0)))
    assert spaced["data_identifier"] != one["data_identifier"]
    names = {adapted(Preparation(), patch=(side,) * 3)[0]["plans_name"] for side in (16, 32)}
    assert len(names) == 2


def test_a_narrow_network_keeps_the_first_stages():
    _, chosen = adapted(Preparation(), features=(8, 16, 32))
    assert chosen["architecture"]["arch_kwargs"] == {
        "n_stages": 3,
        "features_per_stage": [8, 16, 32],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2],
        "conv_bias": True,
    }
    with pytest.raises(InputError, match="features must list at most 4 planned stages, got 5"):
        adapted(Preparation(), features=(8, 16, 32, 64, 128))
