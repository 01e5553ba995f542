"""A suite's settings of further jobs: longer training from scratch, and sources that are pre-trained again."""

from collections.abc import Mapping
from dataclasses import dataclass

from omegaconf import OmegaConf

from benchmark.errors import InputError, is_number, is_whole

LONGER = "longer"  # the tag `variant` of the runs of longer training
# kind of further jobs -> the stage after whose own jobs they run
STAGE_OF = {LONGER: "truth", "repeated_pretrain": "pretrain", "repeated_truth": "truth", "repeated_score": "score"}


@dataclass(frozen=True)
class Longer:
    """Longer fine-tuning of the networks from scratch, to see whether the study's budget is enough for them.

    Attributes:
        factor: Steps of the longer training, as a multiple of the study's.
        seeds: Its fine-tuning seeds.
    """

    factor: float
    seeds: tuple[int, ...]

    def length(self, steps: int) -> int:
        """Steps or epochs of the longer training.

        Args:
            steps: Those of the study's trainer.
        """
        return round(self.factor * steps)


@dataclass(frozen=True)
class Repeated:
    """Sources that are pre-trained again with other seeds: each has one *repeat* per seed.

    Attributes:
        sources: Names of the sources.
        seeds: The other seeds.
    """

    sources: tuple[str, ...]
    seeds: tuple[int, ...]

    @property
    def repeats(self) -> dict[str, tuple[str, int]]:
        """Name of each repeat -> its source, and its seed.

        Example:
            >>> Repeated(("lung",), (1, 2)).repeats
            {'lung_seed1': ('lung', 1), 'lung_seed2': ('lung', 2)}
        """
        return {repeat_name(source, seed): (source, seed) for source in self.sources for seed in self.seeds}


def repeat_name(source: str, seed: int) -> str:
    """Name of the repeat of a source, which is pre-trained again with another seed."""
    return f"{source}_seed{seed}"


def longer_of(settings: object) -> Longer | None:
    """Read the setting `suite.longer`; None if it is null.

    Raises:
        InputError: It is no mapping of `factor`, a number above 1, and `seeds`.
    """
    values = _mapping("suite.longer", settings, {"factor", "seeds"})
    if values is None:
        return None
    factor = values["factor"]
    if not is_number(factor) or factor <= 1.0:
        raise InputError(f"suite.longer.factor must be a number above 1, got {factor}")
    return Longer(float(factor), _seeds("suite.longer.seeds", values["seeds"]))


def repeated_of(settings: object, name: str = "suite.repeated") -> Repeated | None:
    """Read the setting `suite.repeated`; None if it is null.

    Args:
        settings: Its value.
        name: What messages call it.

    Raises:
        InputError: It is no mapping of `sources`, a list of names, and `seeds`.
    """
    values = _mapping(name, settings, {"sources", "seeds"})
    if values is None:
        return None
    names = values["sources"]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise InputError(f"{name}.sources must be a list of sources, got {names}")
    return Repeated(tuple(dict.fromkeys(names)), _seeds(f"{name}.seeds", values["seeds"]))


def _mapping(name: str, settings: object, fields: set[str]) -> Mapping[str, object] | None:
    if OmegaConf.is_config(settings):
        settings = OmegaConf.to_container(settings, resolve=True)
    if settings is None:
        return None
    if not isinstance(settings, Mapping) or set(settings) != fields:
        raise InputError(f"{name} must be null or have the settings {' and '.join(sorted(fields))}, got {settings}")
    return settings


def _seeds(name: str, seeds: object) -> tuple[int, ...]:
    valid = isinstance(seeds, list) and all(is_whole(seed, least=0) for seed in seeds)
    if not isinstance(seeds, list) or not valid or not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"{name} must be a list of different whole numbers of at least 0, got {seeds}")
    return tuple(seeds)
