"""Choices in Hydra's store that its copies share: copying them took half the time of `--help`."""

from typing import Any, Self

from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.plugins import Plugins


class _SharedNode(ConfigNode):
    """A choice that copies of the store have in common, which is safe: Hydra copies a choice again as it loads it.

    Hydra copies the whole store for each composition, and for each group that `--help` lists.
    """

    def __deepcopy__(self, memo: object) -> Self:
        return self


def share_choices() -> None:
    """Share all choices that are in the store, those of Hydra's plugins included."""
    Plugins.instance()  # finds the plugins, whose modules store their choices
    _share(ConfigStore.instance().repo)


def _share(choices: dict[str, Any]) -> None:
    for name, choice in choices.items():
        if isinstance(choice, dict):
            _share(choice)
        else:
            choices[name] = _SharedNode(**vars(choice))
