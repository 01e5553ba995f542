"""What is written beside results: tags of the experiment, tags and names of runs that are finished."""

from collections.abc import Mapping

from benchmark.tracking.store import Store


def mark_experiment(store: Store, tags: Mapping[str, str]) -> None:
    """Give a store's experiment tags.

    Args:
        store: The store.
        tags: Name -> value; MLflow shows `mlflow.note.content` as a description, in Markdown.
    """
    experiment = store.prepare()
    for name, value in tags.items():
        store.client.set_experiment_tag(experiment, name, value)


def mark_run(store: Store, run: str, *, name: str, tags: Mapping[str, str]) -> None:
    """Give a run another readable name, and tags.

    Args:
        store: The store.
        run: The store's identifier of the run.
        name: The new name.
        tags: Name -> value.
    """
    store.client.update_run(run, name=name)
    for tag, value in tags.items():
        store.client.set_tag(run, tag, value)
