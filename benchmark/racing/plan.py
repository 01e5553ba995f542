"""The plan of a race, which its jobs read from a file: task, candidates, and how they are paired and trained."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import OmegaConf

from benchmark.data.tasks.task import Split
from benchmark.errors import InputError, with_class
from benchmark.jobs.keys import job_key, targets
from benchmark.racing.halving import FEWEST_CASES
from benchmark.racing.settings import check_preparation
from benchmark.sources.opening import files_digest, source_identity
from benchmark.storage.files import read_json, write_json
from benchmark.tracking.records import Stage


@dataclass(frozen=True)
class RacePlan:
    """What a race needs to know of its task and candidates.

    Attributes:
        task: Config of the task.
        candidates: Name -> config of the source.
        preparation: Whose plan decides on intensities and spacing, as in `paired`.
        trainer: Resolved config of the trainer.
    """

    task: Mapping[str, Any]
    candidates: Mapping[str, Mapping[str, Any]]
    preparation: Mapping[str, str]
    trainer: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> "RacePlan":
        """Read the file that `write` wrote.

        Raises:
            InputError: The file is missing, or is not such a file.
        """
        content = read_json(path, hint="; it is written by python -m benchmark.race")
        try:
            return cls(**content | {"candidates": dict(content["candidates"])})
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is not a plan of benchmark.race ({with_class(error)}); run the race again"
                             ) from error  # fmt: skip

    def write(self, path: Path) -> None:
        """Write the plan to a file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        candidates = list(self.candidates.items())  # in JSON as pairs, whose order is kept
        write_json(path, asdict(self) | {"candidates": candidates})

    def state_key(self, name: str, *, seed: int, data: str) -> str:
        """What decides the training of a candidate, at any rung.

        Args:
            name: The candidate.
            seed: Seed of the training.
            data: Digest of the task.
        """
        inputs = {
            "source": source_identity(OmegaConf.create(dict(self.candidates[name]))),
            "target": dict(self.task),
            "data": data,
            "preparation": dict(self.preparation),
            "trainer": dict(self.trainer),
            "seed": seed,
        }
        return job_key(Stage.RACE, "benchmark.training.trainer", inputs, code=targets(inputs))

    def job_key(self, name: str, *, seed: int, data: str, rung: str) -> str:
        """The key of the job that trains a candidate up to a rung; arguments as in `state_key`."""
        inputs = {"state": self.state_key(name, seed=seed, data=data), "rung": rung}
        return job_key(Stage.RACE, "benchmark.racing.job", inputs)


def with_validation(
    node: Mapping[str, Any], *, share: float | None, seed: int, folds: str | None, fold: int | None
) -> dict[str, Any]:
    """The config of a task whose labelled cases are split into training and validation cases.

    Args:
        node: The config of a task; one of the embedded suite has validation cases already and is left as it is.
        share: Share of the labelled cases for validation; None: a fifth, but `FEWEST_CASES` if that leaves as many for
            training.
        seed: Seed of the split.
        folds: A file like nnU-Net's splits_final.json; None: that in the task's folder, if `fold` is given.
        fold: The fold, for a split that is not drawn.

    Raises:
        InputError: The task has no validation cases, or the split is not possible.
    """
    task = instantiate(OmegaConf.create(dict(node)))
    given = [
        name for name, value in (("validation_share", share), ("folds", folds), ("fold", fold)) if value is not None
    ]
    if not hasattr(task, "labelled_cases"):
        if not task.has(Split.VALIDATION):
            raise InputError(f"task {task.name} has no validation cases, which a race chooses by")
        if given:
            raise InputError(f"task {task.name} has validation cases of its own, so {given[0]} does not apply")
        return dict(node)
    if share is not None and len(given) > 1:
        raise InputError(f"{given[1]} names the validation cases, so validation_share does not apply; give either")
    own: dict[str, Any] = {"held_out": str(Split.VALIDATION), "seed": seed}
    if folds is not None or fold is not None:
        place = {} if folds is None else {"folds": str(_folds_file(Path(folds), Path(task.folder)))}
        own |= place | {"fold": 0 if fold is None else fold}
    else:
        own["test_share"] = _share(share, len(task.labelled_cases()), name=task.name)
    whole = {**node, **own}
    instantiate(OmegaConf.create(whole)).names(Split.VALIDATION)  # a split that is not possible is reported now
    return whole


def _share(share: float | None, count: int, *, name: str) -> float:
    """The share of `count` labelled cases for validation.

    Raises:
        InputError: No case is left for training.
    """
    if count < 2:
        raise InputError(f"task {name} has {count} labelled case{'' if count == 1 else 's'}; a race needs at least 2, "
                         "one for training and one for validation")  # fmt: skip
    if share is None:
        return max(round(count / 5), FEWEST_CASES if count >= 2 * FEWEST_CASES else 1) / count
    if max(round(share * count), 1) >= count:
        raise InputError(f"validation_share={share:g} leaves no training case of {count}; choose a smaller share")
    return share


def _folds_file(given: Path, folder: Path) -> Path:
    """The file that is named relative to the working directory, or else to the task's folder."""
    if given.is_absolute() or given.is_file():
        return given.absolute()
    return given if (folder / given).is_file() else given.absolute()


def read_ranking(path: Path, *, trust: bool) -> dict[str, Any]:
    """The content of a ranking.json.

    Args:
        path: The file.
        trust: Whether files of a source may name classes and expressions of their own.

    Raises:
        InputError: The file is missing or is no such file, or was made with trust=true and `trust` is False.
    """
    content = read_json(path, hint="; it is written by python -m benchmark.rank")
    if not isinstance(content, dict) or (wrong := _wrong_parts(content)):
        named = f" in {wrong[0]}" if isinstance(content, dict) else ""
        raise InputError(f"{path} is not a ranking.json of benchmark.rank, or is damaged{named}; run benchmark.rank "
                         "again")  # fmt: skip
    check_preparation(content["settings"].get("preparation", {}), path=path)
    if not trust and (trusted := [name for name, node in content["sources"].items() if node.get("trust")]):
        raise InputError(f"{path} was made with trust=true, so that {trusted[0]} may name classes and expressions of "
                         "its own; give trust=true to race it")  # fmt: skip
    return content


def _wrong_parts(content: Mapping[str, Any]) -> list[str]:
    """The parts of a ranking.json that are missing or not of their form."""
    rows, level, nodes = (content.get(part) for part in ("ranking", "cannot_be_told_apart", "sources"))
    skipped, digests, settings = content.get("skipped", {}), content.get("digests", {}), content.get("settings")
    sound = {
        "ranking": isinstance(rows, list) and all(isinstance(row, dict) and "source" in row for row in rows),
        "cannot_be_told_apart": isinstance(level, list) and all(isinstance(name, str) for name in level),
        "sources": isinstance(nodes, dict) and all(map(_is_config, nodes.values())),
        "skipped": isinstance(skipped, dict),
        "digests": isinstance(digests, dict),
        "settings": isinstance(settings, dict) and _is_config(settings.get("task")),
    }
    return [part for part, right in sound.items() if not right]


def changed_candidates(ranking: Mapping[str, Any], candidates: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The candidates whose files are no longer those that the ranking scored; none if it is too old to have digests."""
    stored: Mapping[str, str | None] = ranking.get("digests", {})
    return [
        name
        for name, node in candidates.items()
        if stored.get(name) is not None and files_digest(OmegaConf.create(dict(node))) != stored[name]
    ]


def _is_config(node: object) -> bool:
    """Whether it is a config of something that can be instantiated."""
    return isinstance(node, dict) and isinstance(node.get("_target_"), str)


def chosen_candidates(
    ranking: Mapping[str, Any], *, prior: str, keep: int | None, path: Path
) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The candidates of a ranking: those that it cannot separate from the first, best first.

    Args:
        ranking: The content of a ranking.json.
        prior: "ranking", or "none" for every source that was given, scored or not.
        keep: Maximum number of candidates; None: any number.
        path: The file, for errors.

    Returns:
        Name -> config, and the names of sources that are left out although the ranking does not separate them.

    Raises:
        InputError: The ranking has no source.
    """
    nodes: Mapping[str, Mapping[str, Any]] = ranking["sources"]
    if not nodes:
        raise InputError(f"{path} has no configs of its sources; run benchmark.rank again")
    order = [str(row["source"]) for row in ranking["ranking"]]
    names: Sequence[str] = [*order, *(name for name in nodes if name not in order)]
    if prior == "ranking":
        level = set(ranking["cannot_be_told_apart"])
        names = [name for name in order if name in level]
    if missing := [name for name in names if name not in nodes]:
        raise InputError(f"{path} has no config of the source {missing[0]}; run benchmark.rank again")
    kept = list(names)[:keep]
    return {name: nodes[name] for name in kept}, list(names)[len(kept) :]
