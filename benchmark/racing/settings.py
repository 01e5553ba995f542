"""The settings of `benchmark.race`, checked before anything is read or trained."""

import posixpath
from collections.abc import Mapping

from benchmark.data.preprocessing.preparation import FOLLOW
from benchmark.errors import InputError, check_whole, is_number, is_whole
from benchmark.ranking.switches import check_switches

PRIORS = ("ranking", "none")
SWITCHES = ("trust", "links", "stop", "dry_run")
PATHS = ("ranking", "folds")
OF_RANKING = ("rank", "links")  # settings of a ranking that is still to be made
# every setting that is checked here
SETTINGS = (*SWITCHES, *PATHS, "prior", "keep", "workers", "retry", "budget", "validation_share", "split_seed", "fold",
            "seeds", "register", "given", "rank", "preparation", "trainer")  # fmt: skip


def check_settings(settings: Mapping[str, object]) -> None:
    """Check the settings of a race that need neither its task nor its sources.

    Args:
        settings: The values of `SETTINGS`, as plain Python.

    Raises:
        InputError: One of them breaks its rule, or does not apply with another.
    """
    check_switches({name: settings[name] for name in SWITCHES})
    if settings["prior"] not in PRIORS:
        raise InputError(f"prior must be {' or '.join(PRIORS)}, got {settings['prior']}")
    if settings["retry"] not in (None, "failed"):
        raise InputError(f"retry must be failed or null, got {settings['retry']}")
    _check_numbers(settings)
    seeds_of(settings["seeds"])
    _check_name(settings["register"])
    _check_parts(settings)
    _check_ranking(settings)


def check_preparation(preparation: object, *, path: object = None) -> None:
    """Check whose plan decides on intensities and spacing; `path` is the file that says so, if one does.

    Raises:
        InputError: It is neither "source" nor "target", or another setting is given.
    """
    names, where = ("intensities", "spacing"), f"{path}: " if path else ""
    if not isinstance(preparation, dict) or set(preparation) - set(names):
        raise InputError(f"{where}preparation must have the settings {' and '.join(names)}, got {preparation}")
    for name, choice in preparation.items():
        if choice not in FOLLOW:
            raise InputError(f"{where}preparation.{name} must be one of {', '.join(FOLLOW)}, got {choice}")


def seeds_of(given: object) -> list[int]:
    """The seeds of each candidate's training: a number n stands for 0 to n - 1.

    Raises:
        InputError: It is neither a number nor a list of different seeds.

    Example:
        >>> seeds_of(2), seeds_of([3, 5])
        ([0, 1], [3, 5])
    """
    seeds = list(range(given)) if is_whole(given) else given
    if not isinstance(seeds, list) or not seeds or not all(is_whole(seed, least=0) for seed in seeds) or (
        len(set(seeds)) < len(seeds)
    ):  # fmt: skip
        raise InputError("seeds must be a number of at least 1, or a list of different whole numbers of at least 0, "
                         f"got {given}")  # fmt: skip
    return seeds


def _check_numbers(settings: Mapping[str, object]) -> None:
    for name, least in (("keep", 1), ("workers", 1), ("split_seed", 0), ("fold", 0)):
        check_whole(name, settings[name], least=least, optional=name in {"keep", "fold"})
    budget, share = settings["budget"], settings["validation_share"]
    if not is_number(budget) or not 0 < budget <= 1:
        raise InputError(f"budget must be a share above 0 and at most 1, got {budget}")
    if share is not None and (not is_number(share) or not 0 < share < 1):
        raise InputError(f"validation_share must be a share between 0 and 1 or null, got {share}")


def _check_name(name: object) -> None:
    """Check the name of a registered model by the rule of MLflow, which is asked only after the training."""
    if name is None:
        return
    if not isinstance(name, str) or not name.strip() or set("/:") & set(name) or (
        posixpath.normpath(name) == "." or name.startswith("..")
    ):  # fmt: skip
        raise InputError(f"register must be a name without / and :, not . and not starting with .., got {name}")


def _check_parts(settings: Mapping[str, object]) -> None:
    for name in PATHS:
        if settings[name] is not None and not isinstance(settings[name], str):
            raise InputError(f"{name} must be the path of a file or null, got {settings[name]}")
    rank = settings["rank"]
    if not isinstance(rank, list) or not all(isinstance(item, str) for item in rank):
        raise InputError(f"rank must be a list of settings such as ['minutes=5'], got {rank}")
    check_preparation(settings["preparation"])
    trainer = settings["trainer"]
    if not isinstance(trainer, dict) or "_target_" not in trainer:
        raise InputError(f"trainer must be a name in conf/trainer, such as monai or nnunet, got {trainer}")


def _check_ranking(settings: Mapping[str, object]) -> None:
    path, given = settings["ranking"], settings["given"]
    if path is None:
        return
    if isinstance(given, dict) and (given.get("task") or given.get("source")):
        raise InputError(f"ranking={path} already names a task and sources; give either ranking, or task and source")
    if others := [name for name in OF_RANKING if settings[name]]:
        raise InputError(f"{others[0]} is a setting of a new ranking and does not apply with ranking={path}")
