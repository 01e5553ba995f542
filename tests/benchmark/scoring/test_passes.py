"""The further passes: which metrics ask for which, what perturbs images, and what happens where one cannot run."""

import math
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from monai.transforms import Compose, RandAdjustContrast, RandGaussianNoise, SpatialPad
from omegaconf import OmegaConf
from torch import nn

from baselines import crank_score, otce_score
from baselines.crank import CRank
from baselines.logme import LogME
from baselines.otce import OTCE
from baselines.ped import PED
from benchmark.errors import SkipPair
from benchmark.features import reduce_stream
from benchmark.metric.score import needed
from benchmark.scoring import passes as passes_module
from benchmark.scoring.passes import ExtraPass, PassCases, Perturbation, TargetPass, compute, run_passes, seconds
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.network_stages import NetworkStages
from benchmark.statistics import BalancedPointsRequest, StagePointsRequest
from benchmark.statistics.case_cache import MeasuredPass

NOISE = RandGaussianNoise(prob=1.0, std=0.2, sample_std=False)


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(3)
        built = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 2, 1)).eval()
        logits = built(torch.rand(1, 1, 16, 16, 16))
        built[2].bias[0] += (logits[:, 1] - logits[:, 0]).mean()  # as many voxels of either class
        return built


@pytest.fixture
def reduce(network, tmp_path):
    def run(chosen, requests, *, name):
        statistics = reduce_stream(
            network, ["1"], list(chosen), requests, patch_size=(16, 16, 16), classes=chosen.classes,
            folder=tmp_path / name,
        )  # fmt: skip
        return MeasuredPass(statistics, 0.0)

    return run


def test_passes_are_asked_for_by_name():
    assert needed([LogME()]) == []
    assert needed([OTCE(), PED(), LogME(), CRank()]) == ["perturbed", "source"]
    assert needed([OTCE, CRank]) == ["perturbed", "source"]


def test_each_case_has_its_own_noise_whatever_the_order(cases):
    perturbation = Perturbation(NOISE, seed=1)
    forward = {case.name: case.image for case in perturbation(cases)}
    backward = {case.name: case.image for case in perturbation(cases[::-1])}
    assert all(torch.equal(forward[name], backward[name]) for name in forward)
    other = {case.name: case.image for case in Perturbation(NOISE, seed=2)(cases)}
    assert not any(torch.equal(forward[name], other[name]) for name in forward)
    added = forward["case_00"] - cases[0].image
    assert float(added.std()) == pytest.approx(0.2, rel=0.05)
    assert not torch.allclose(added.flatten()[:100], (forward["case_01"] - cases[1].image).flatten()[:100])


def test_the_original_images_stay_as_they_are(cases):
    before = cases[0].image.clone()
    chain = Compose([RandAdjustContrast(prob=1.0, gamma=(2.0, 2.0)), NOISE])
    [perturbed] = Perturbation(chain)([cases[0]])
    assert torch.equal(cases[0].image, before)
    assert not torch.equal(perturbed.image, before)
    assert torch.equal(perturbed.labels, cases[0].labels)


def test_a_transform_that_changes_the_shape_is_refused(cases):
    wider = Compose([SpatialPad((64, 64, 64))])
    with pytest.raises(ValueError, match="`transform` must keep the image's shape"):
        next(iter(Perturbation(wider)(cases)))


def test_crank_of_its_pass_is_that_of_the_two_predictions(network, reduce, cases):
    case = replace(cases[0], image=cases[0].image[:, :16, :16, :16], labels=cases[0].labels[:16, :16, :16])
    metric, perturbation = CRank(), Perturbation(NOISE)
    statistics = reduce(PassCases([case], 3), metric.requires, name="target").statistics
    passes = run_passes([metric], {"perturbed": lambda: PassCases([case], 3, perturbation=perturbation)}, reduce)
    with torch.no_grad():
        pair = [network(one.image[None]).softmax(dim=1)[:, 1] for one in (case, *perturbation([case]))]
    assert compute(metric, statistics, passes).value == pytest.approx(
        crank_score(*pair), abs=0.01
    )  # half precision near 0.5
    assert seconds(metric, passes) > 0 == seconds(LogME(), passes)


def test_otce_of_its_pass_is_that_of_the_two_samples(reduce, cases, make_case):
    own = [make_case(seed=9, classes=2, name="own")]
    metric, request = OTCE(count=60), BalancedPointsRequest(count=60)
    statistics = reduce(PassCases(cases, 3), [request], name="target").statistics
    passes = run_passes([metric], {"source": lambda: PassCases(own, 2)}, reduce)
    there, here = passes["source"].statistics[request], statistics[request]
    assert there.k == 2
    expected = otce_score(there.features, there.labels, here.features, here.labels)
    assert compute(metric, statistics, passes).value == expected


def test_a_pass_that_cannot_run_gives_the_reason(reduce, cases):
    def no_data():
        raise SkipPair("source scratch has no data of its own")

    metrics = [OTCE(count=60), PED(count=60)]
    passes = run_passes(metrics, {"source": no_data}, reduce)
    statistics = reduce(PassCases(cases, 3), metrics[0].requires, name="target").statistics
    for metric in metrics:
        score = compute(metric, statistics, passes)
        assert math.isnan(score.value)
        assert score.reason == "source scratch has no data of its own"
    assert passes["source"] == ExtraPass(None, "source scratch has no data of its own")


def test_stages_are_discovered_once_for_all_cases(network, cases, tmp_path, monkeypatch):
    discovered, keyed = [], []

    def discover(model):
        discovered.append(model)
        return NetworkStages({"0": 4}, {"1": 4})

    def key(cfg, name, *, stages, **inputs):
        keyed.append(stages)
        return f"{stages}".ljust(64, "0")

    monkeypatch.setattr(passes_module, "stages_of_model", discover)
    monkeypatch.setattr(passes_module, "case_pass_key", key)
    stream = {"window": [16, 16, 16], "overlap": 0.25, "batch": 1, "windows": "all"}
    cfg = OmegaConf.create({"stream": stream, "device": {"name": "cpu", "amp": None}, "output_dir": str(tmp_path)})
    arch = Architecture("small", nn.Identity, ("1",), (), (), ("2",), 4)
    model = SimpleNamespace(arch=arch, channels=1, classes=2, head=True, network=lambda device: network)
    chosen = PassCases(cases, 3, [(case.name, "0" * 64) for case in cases])
    with ExitStack() as use:
        run = TargetPass(cfg, None, None, "source", tmp_path, use)
        vars(run)["_model"] = model
        request = StagePointsRequest(class_count=5)
        sample = run(chosen, [request], name="source").statistics[request]
        run(chosen, [BalancedPointsRequest(count=9)], name="source")
    assert (len(sample.cases), sample.encoder) == (len(cases), (("0", 4),))
    assert discovered == [model]
    assert keyed == [True, False]
