"""Tags of an experiment, and tags and names of finished runs."""

from collections.abc import Mapping

from benchmark.tracking.store import Store


def mark_experiment(store: Store, tags: Mapping[str, str]) -> None:
    """Set tags of a store's experiment.

    Args:
        store: The store.
        tags: Name -> value; MLflow shows `mlflow.note.content` as a description, in Markdown.
    """
    experiment = store.prepare()
    for name, value in tags.items():
        store.client.set_experiment_tag(experiment, name, value)


def mark_run(store: Store, run: str, *, name: str, tags: Mapping[str, str]) -> None:
    """Rename a run and set its tags.

    Args:
        store: The store.
        run: The store's identifier of the run.
        name: The new name.
        tags: Name -> value.
    """
    store.client.update_run(run, name=name)
    for tag, value in tags.items():
        store.client.set_tag(run, tag, value)
