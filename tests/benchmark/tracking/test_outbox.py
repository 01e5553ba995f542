"""What is stored with results: descriptions, data that were read, names and tags given later, settings as params."""

from pathlib import Path

from mlflow import MlflowClient

from analysis.dashboards.refresh import AfterSweep
from benchmark.jobs.cli import entry_point, settings_of
from benchmark.tracking.records import Data


def _stored(store, run):
    return MlflowClient(store.uri).get_run(run)


def _run(store, key, **params):
    params = {"source": "scratch", "target": "ball", "metrics": "ccfv"} | params
    with store.run("score", key, "scratch on ball", params=params, config={}, suite="s") as run:
        run.log(metrics={"ccfv": 0.5})
        run.describe("**scratch** on ball", [Data("ball", "0123456789" * 6, Path("data") / "ball", "target")])
    return run.run_id


def test_a_run_holds_its_description_and_its_data(place):
    store = place.store()
    run = _stored(store, _run(store, "a"))
    assert run.data.tags["mlflow.note.content"] == "**scratch** on ball"
    (read,) = run.inputs.dataset_inputs
    assert (read.dataset.name, read.dataset.digest) == ("ball", ("0123456789" * 6)[:36])
    assert read.dataset.source == '{"uri": "data/ball"}'
    assert [(tag.key, tag.value) for tag in read.tags] == [("mlflow.data.context", "target")]


def test_more_params_than_a_request_takes(place):
    store = place.store()
    run = _run(store, "a", **{f"metric.a.p{index}": str(index) for index in range(230)})
    assert len(_stored(store, run).data.params) == 233


def test_a_finished_run_gets_a_name_and_tags(place):
    store = place.store()
    run = _run(store, "a")
    store.mark_run(run, name="scratch on ball [x=1]", tags={"sweep": "x"})
    assert store.find("a").name == "scratch on ball [x=1]"
    assert store.find("a").tags["sweep"] == "x"


def test_the_experiment_gets_tags(place):
    store = place.store()
    store.mark_experiment({"mlflow.note.content": "text"})
    assert MlflowClient(store.uri).get_experiment(store.prepare()).tags["mlflow.note.content"] == "text"


def test_after_a_multirun_its_sweep_is_marked_and_shown(place, compose_command):
    store = place.store()
    runs = {value: _run(store, value, **{"stream.overlap": value}) for value in ("0", "0.5")}
    AfterSweep().on_multirun_end(compose_command("score", "experiment=synthetic", *place.overrides))
    for value, run in runs.items():
        stored = _stored(store, run)
        assert stored.data.tags["sweep"] == "stream.overlap"
        assert stored.info.run_name == f"scratch on ball [stream.overlap={value}]"
    tags = MlflowClient(store.uri).get_experiment(store.prepare()).tags
    assert {f"mlflow.sharedViewState.{key}" for key in ("agreement", "truth", "sweeps")} <= set(tags)
    assert "viewStateShareKey=sweeps" in tags["mlflow.note.content"]


def test_a_multirun_without_a_store_ends_as_its_jobs_did(place, compose_command, caplog):
    cfg = compose_command("score", "experiment=synthetic", *place.overrides, "tracking.uri=nonsense://here")
    AfterSweep().on_multirun_end(cfg)
    assert "dashboards not refreshed: cannot open the tracking store" in caplog.text


def test_settings_that_say_how_are_params_and_others_only_when_set(command_line, place, monkeypatch):
    config = {"stream": {"overlap": 0.25, "window": [8, 8, 8]}, "metric": {"ccfv": {"_target_": "a.b", "seed": 0}},
              "source": {"name": "scratch", "arch": {"width": 8}}, "seed": 3}  # fmt: skip
    expected = {"stream.overlap": "0.25", "stream.window": "[8, 8, 8]", "metric.ccfv.seed": "0"}
    assert settings_of(config) == expected
    settings = []
    main = entry_point("score", lambda cfg: settings.append(settings_of(config)))
    monkeypatch.setattr("benchmark.score.main", main)
    done = command_line("score", "experiment=synthetic", "source=scratch", "source.arch.width=8", *place.overrides)
    assert done.code == 0, done.err
    assert settings == [expected | {"source.arch.width": "8"}]
