"""Corrections of p-values for multiple metrics.

All metrics compared with the same truth are one family; controls make no claim and are not part of it.

References:
    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6(2), 1979: controls the
    probability of any false claim, under any dependence between the metrics.
    Y. Benjamini, Y. Hochberg, J. R. Statist. Soc. B 57(1), 1995, doi 10.1111/j.2517-6161.1995.tb02031.x: controls the
    expected share of false claims, for positively dependent metrics, such as those compared with one truth.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.agreement.measure_table import PRIMARY

Array = NDArray[np.float64]


def holm(p: ArrayLike) -> Array:
    """Holm's adjusted p-values: the i-th smallest of m is multiplied by m - i + 1, made monotone and clipped at 1.

    Args:
        p: (m,) float64; NaN for undefined metrics, which do not count in m.

    Returns:
        (m,) float64, NaN where p is NaN.

    Example:
        >>> holm([0.01, 0.04, float("nan"), 0.03]).tolist()
        [0.03, 0.06, nan, 0.06]
    """
    return _of_defined(p, _holm)


def false_discovery(p: ArrayLike) -> Array:
    """Benjamini-Hochberg adjusted p-values; arguments and result as in `holm`.

    Example:
        >>> false_discovery([0.01, 0.04, float("nan"), 0.03]).tolist()
        [0.03, 0.04, nan, 0.04]
    """
    return _of_defined(p, stats.false_discovery_control)


def corrected(agreement: pd.DataFrame) -> pd.DataFrame:
    """Add both corrections of the p-values to the table of agreement.

    Args:
        agreement: Rows of `analysis.evaluation.rows.agreement_row`.

    Returns:
        The same with M_p_holm and M_q (Benjamini-Hochberg) for each primary measure M: over the metrics of each subset,
        scope, target and tune; NaN for the controls.
    """
    table = agreement.copy()
    family = table[table["kind"] == "metric"].groupby(["subset", "scope", "target", "tune"], sort=False)
    for measure in PRIMARY:
        p = family[f"{measure.name}_p"]
        table[f"{measure.name}_p_holm"] = p.transform(lambda values: holm(values.to_numpy()))
        table[f"{measure.name}_q"] = p.transform(lambda values: false_discovery(values.to_numpy()))
    return table


def _holm(p: Array) -> Array:  # statsmodels' `multipletests` gives the same and takes 25 ms a call
    order = np.argsort(p, kind="stable")
    steps = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(steps, 1.0)
    return adjusted


def _of_defined(p: ArrayLike, adjust: Callable[[Array], Array]) -> Array:
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    defined = np.isfinite(values)
    if defined.any():
        adjusted[defined] = adjust(values[defined])
    return adjusted
