"""A row of the performance table: our result, the reference, their ratio, its bound and accuracy checks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

Rule: TypeAlias = Literal["at most", "at least"]


@dataclass(frozen=True)
class Check:
    """An error that must not exceed its tolerance.

    Attributes:
        error: measured error.
        tolerance: maximum error.
    """

    error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the error is within the tolerance; False for NaN."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Measurement:
    """A row of the performance table.

    Attributes:
        ours: seconds or megabytes of this project's code; see `unit`.
        reference: the same for the reference.
        rule: "at most" for a cost, ours / reference; "at least" for a gain, reference / ours.
        bound: bound of the ratio.
        device: device that our code ran on.
        unit: unit of `ours` and `reference`, "s" or "MB".
        checks: accuracy checks by name.
        details: further figures by name.

    Example:
        >>> row = Measurement(ours=2.0, reference=90.0, rule="at least", bound=40.0, device="cpu")
        >>> row.ratio, row.holds
        (45.0, True)
    """

    ours: float
    reference: float
    rule: Rule
    bound: float
    device: str
    unit: str = "s"
    checks: Mapping[str, Check] = field(default_factory=dict)
    details: Mapping[str, float] = field(default_factory=dict)

    @property
    def ratio(self) -> float:
        """Ours / reference for a cost, reference / ours for a gain."""
        return self.ours / self.reference if self.rule == "at most" else self.reference / self.ours

    @property
    def within(self) -> bool:
        """Whether the ratio is within its bound."""
        return self.ratio <= self.bound if self.rule == "at most" else self.ratio >= self.bound

    @property
    def holds(self) -> bool:
        """Whether the ratio is within its bound and all checks pass."""
        return self.within and all(check.holds for check in self.checks.values())

    def entry(self, name: str) -> dict[str, object]:
        """The row as plain data for JSON.

        Args:
            name: name of the row.
        """
        return {
            "name": name,
            "ours": self.ours,
            "reference": self.reference,
            "ratio": self.ratio,
            "bound": self.bound,
            "holds": self.holds,
            "device": self.device,
            "unit": self.unit,
            "rule": self.rule,
            "checks": {key: {"error": check.error, "tolerance": check.tolerance} for key, check in self.checks.items()},
            "details": dict(self.details),
        }


class PerfRow(Protocol):
    """A row that can be measured; its fields are set in conf/perf.yaml."""

    def measure(self, device: str) -> Measurement:
        """Measure our code and the reference on a device."""
        ...
