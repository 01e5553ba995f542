"""Where a result comes from."""

import re

from benchmark.jobs.provenance import provenance


def test_facts_of_this_process():
    facts = provenance()
    assert set(facts.tags) == {"git_commit", "git_dirty", "host"}
    assert re.fullmatch("[0-9a-f]{40}|unknown", facts.tags["git_commit"])
    assert facts.tags["git_dirty"] in {"true", "false"}
    assert {"torch", "monai", "mlflow", "hydra-core"} <= set(facts.details["packages"])
    assert facts.details["cores"] >= 1
    assert facts.details["python"].startswith("3.")


def test_facts_are_read_once():
    assert provenance() is provenance()


def test_without_a_repository_the_commit_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr("benchmark.jobs.provenance.__file__", str(tmp_path / "benchmark" / "jobs" / "provenance.py"))
    assert provenance.__wrapped__().tags["git_commit"] == "unknown"
