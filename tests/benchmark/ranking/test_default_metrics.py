"""The sentences about the default metrics are given for exactly those of conf/rank.yaml."""

import pytest

from benchmark.ranking.default_metrics import DEFAULT_METRICS, EVIDENCE, choice_of_metrics


def test_the_default_metrics_are_those_of_the_command(compose_command):
    assert tuple(compose_command("rank").metric) == DEFAULT_METRICS


def test_their_order_and_parameters_do_not_matter(compose_command):
    cfg = compose_command("rank", "metric=[transrate,leep,ncti,nleep,sfda,logme]", "metric.nleep.count=200")
    assert choice_of_metrics(list(cfg.metric)) == EVIDENCE


@pytest.mark.parametrize("chosen", ["metric=[knn]", "metric=[logme,sfda,nleep,ncti,leep,transrate,lda]"])
def test_other_metrics_have_no_such_sentences(compose_command, chosen):
    assert choice_of_metrics(list(compose_command("rank", chosen).metric)) == ""
