"""Read nnU-Net's plans and turn them into a preparation."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.preprocessing.resampling import Resampling, settings
from benchmark.data.preprocessing.schemes import ChannelSchemes, Scheme
from benchmark.errors import InputError

STATISTICS = ("foreground_intensity_properties_per_channel", "foreground_intensity_properties_by_modality")


def preparation_from_plans(plans: Mapping[str, Any], configuration: str) -> Preparation:
    """The preparation that matches nnU-Net's preprocessing under a plan.

    Args:
        plans: The content of plans.json.
        configuration: A configuration of the plans, such as 2d or 3d_fullres.

    Raises:
        InputError: The plans lack the configuration or a key, or name code that is not nnU-Net's own.
    """
    try:
        chosen = _configuration(plans, configuration)
        statistics = next(plans[key] for key in STATISTICS if key in plans)
        return Preparation(
            normalisation=ChannelSchemes(
                tuple(
                    _scheme(name, masked, statistics.get(str(channel), {}))
                    for channel, (name, masked) in enumerate(
                        zip(chosen["normalization_schemes"], chosen["use_mask_for_norm"], strict=True)
                    )
                )
            ),
            spacing=tuple(float(mm) for mm in chosen["spacing"]),
            transpose=tuple(int(axis) for axis in plans["transpose_forward"]),
            crop=True,
            resampling=Resampling(
                chosen["resampling_fn_data"],
                settings(chosen["resampling_fn_data_kwargs"]),
                chosen["resampling_fn_seg"],
                settings(chosen["resampling_fn_seg_kwargs"]),
            ),
        )
    except (KeyError, TypeError, ValueError, AttributeError, StopIteration, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        detail = error.args[0] if error.args else "no intensity statistics"
        raise InputError(f"plans: cannot use {configuration} as a configuration of nnU-Net v2: {detail}") from error


def read_plans(path: Path) -> dict[str, Any]:
    """Read a plans file.

    Raises:
        InputError: The file is missing, or not UTF-8 JSON with configurations.
    """
    try:
        plans = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} not found") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path} as UTF-8 JSON: {error}") from error
    if not isinstance(plans, dict) or not isinstance(plans.get("configurations"), dict):
        raise InputError(f"{path} must be a JSON object with the key configurations")
    return plans


def _configuration(plans: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A configuration with its inherited settings, as nnU-Net's plans manager resolves them."""
    from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

    if name not in plans["configurations"]:
        raise InputError(f"plans: configuration must be one of {', '.join(plans['configurations'])}, got {name}")
    resolved: Mapping[str, Any] = PlansManager(dict(plans)).get_configuration(name).configuration
    return resolved


def _scheme(name: str, masked: bool, statistics: Mapping[str, float]) -> Scheme:
    if name != "CTNormalization":
        return Scheme(name, bool(masked))
    mean, std, low, high = (float(statistics[key]) for key in ("mean", "std", "percentile_00_5", "percentile_99_5"))
    return Scheme(name, bool(masked), mean, std, low, high)
