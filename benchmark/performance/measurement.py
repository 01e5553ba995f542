"""What a row of the performance table says: ours, the reference, their ratio, its bound, and whether all holds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

Rule: TypeAlias = Literal["at most", "at least"]


@dataclass(frozen=True)
class Check:
    """A number that must not be larger than its tolerance: speed without the right result is worth nothing.

    Attributes:
        error: what was found.
        tolerance: the most that is allowed.
    """

    error: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the error is within the tolerance; never for NaN."""
        return self.error <= self.tolerance


@dataclass(frozen=True)
class Measurement:
    """One row.

    Attributes:
        ours: seconds or megabytes of this project's way, as `unit` says.
        reference: the same of the reference.
        rule: "at most" for a cost, ours over the reference; "at least" for a gain, the reference over ours.
        bound: of the ratio.
        device: where ours ran.
        unit: of `ours` and `reference`, "s" or "MB".
        checks: what makes sure that both found the same, by name.
        details: further figures worth keeping, by name.

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
        """Ours over the reference for a cost, the reference over ours for a gain."""
        return self.ours / self.reference if self.rule == "at most" else self.reference / self.ours

    @property
    def within(self) -> bool:
        """Whether the ratio keeps its bound."""
        return self.ratio <= self.bound if self.rule == "at most" else self.ratio >= self.bound

    @property
    def holds(self) -> bool:
        """Whether the ratio keeps its bound and every check holds."""
        return self.within and all(check.holds for check in self.checks.values())

    def entry(self, name: str) -> dict[str, object]:
        """The row as plain data for JSON.

        Args:
            name: the row's.
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
    """A row that can be measured; its fields are the sizes and the bound in conf/perf.yaml."""

    def measure(self, device: str) -> Measurement:
        """Measure ours and the reference side by side on a device."""
        ...
