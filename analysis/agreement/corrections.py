"""P-values of many metrics at once.

The metrics that are compared with one truth are one family; the controls are no claims, and not in it.

References:
    S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6(2), 1979: bounds the chance
    of a single false claim, whatever the dependence between the metrics.
    Y. Benjamini, Y. Hochberg, J. R. Statist. Soc. B 57(1), 1995, doi 10.1111/j.2517-6161.1995.tb02031.x: bounds the
    expected share of false claims, for metrics that depend on each other positively, as those of one truth do.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from analysis.agreement.measure_table import PRIMARY

Array = NDArray[np.float64]


def holm(p: ArrayLike) -> Array:
    """Holm's adjusted p-values: the i-th smallest of m times m - i + 1, made monotone and cut at 1.

    Args:
        p: (m,) float64, NaN where a metric is undefined; it is not counted in m.

    Returns:
        (m,) float64, NaN where p is.

    Example:
        >>> holm([0.01, 0.04, float("nan"), 0.03]).tolist()
        [0.03, 0.06, nan, 0.06]
    """
    return _of_defined(p, _holm)


def false_discovery(p: ArrayLike) -> Array:
    """Benjamini and Hochberg's adjusted p-values; arguments and result as in `holm`.

    Example:
        >>> false_discovery([0.01, 0.04, float("nan"), 0.03]).tolist()
        [0.03, 0.04, nan, 0.04]
    """
    return _of_defined(p, stats.false_discovery_control)


def corrected(agreement: pd.DataFrame) -> pd.DataFrame:
    """The table of agreement with both corrections of its p-values.

    Args:
        agreement: Rows of `analysis.evaluation.rows.agreement_row`.

    Returns:
        The same with M_p_holm and M_q (Benjamini-Hochberg) for each primary measure M: over the metrics of each subset,
        target and tune; NaN for the controls.
    """
    found = agreement.copy()
    family = found[found["kind"] == "metric"].groupby(["subset", "target", "tune"], sort=False)
    for measure in PRIMARY:
        p = family[f"{measure.name}_p"]
        found[f"{measure.name}_p_holm"] = p.transform(lambda values: holm(values.to_numpy()))
        found[f"{measure.name}_q"] = p.transform(lambda values: false_discovery(values.to_numpy()))
    return found


def _holm(p: Array) -> Array:
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
