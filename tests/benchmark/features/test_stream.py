"""The stream through small MONAI networks: each voxel once, whatever the windows, batches, order and splits."""

from dataclasses import replace

import pytest
import torch
from monai.networks.nets import DynUNet, UNet
from torch import nn
from torch.nn.functional import interpolate

from benchmark.ccfv import CCFV, CCFVReleased
from benchmark.data.files.cases import Case
from benchmark.features import reduce_stream
from benchmark.sources.networks.network_stages import NetworkStages
from benchmark.statistics import (
    BalancedPointsRequest,
    CasePointsRequest,
    ClassMoments,
    ClassMomentsRequest,
    JointRequest,
    ScenePointsRequest,
    SoftmaxRequest,
    StagePointsRequest,
)

PATCH = (16, 16, 16)
TAPS = ("upsamples.0", "upsamples.1")
MOMENTS, JOINT, BALANCED = ClassMomentsRequest(), JointRequest(), BalancedPointsRequest(count=90)
POINTS, SCENES = CasePointsRequest(counts=(10, 20, 40)), ScenePointsRequest(count=100)
REQUESTS = (MOMENTS, ClassMomentsRequest(layer=-2), JOINT, BALANCED, POINTS, SCENES, SoftmaxRequest())

# oneDNN picks other float32 algorithms for other batches and shapes: a few dozen roundings through the network
FORWARD = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(scope="module")
def network():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return DynUNet(
            3, 1, 4, kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=[4, 8, 12]
        )


@pytest.fixture
def stream(network, cases, tmp_path):
    counter = iter(range(100))

    def run(some=cases, requests=REQUESTS, *, net=network, taps=TAPS, **arguments):
        folder = tmp_path / str(next(counter))
        return reduce_stream(
            net, taps, some, requests, **{"patch_size": PATCH, "classes": 3} | arguments, folder=folder
        )

    return run


class Coordinates(nn.Module):
    """Features and logits that depend on a voxel alone, so that no window can change them."""

    def __init__(self):
        super().__init__()
        self.features = nn.Conv3d(1, 4, 1)
        self.head = nn.Conv3d(4, 2, 1)

    def forward(self, x):
        return self.head(self.features(x))


class Scaled(nn.Module):
    """A head on a coarser map: the tap has half the resolution."""

    def __init__(self):
        super().__init__()
        self.down = nn.AvgPool3d(2)
        self.head = nn.Conv3d(1, 2, 1)

    def forward(self, x):
        return interpolate(self.head(self.down(x)), scale_factor=2, mode="trilinear")


def assert_same(ours, theirs, **tolerance):
    tolerance = tolerance or FORWARD
    assert torch.equal(ours[MOMENTS].count, theirs[MOMENTS].count)
    for name in ("mean", "scatter"):
        torch.testing.assert_close(getattr(ours[MOMENTS], name), getattr(theirs[MOMENTS], name), rtol=1e-3, atol=1e-2)
    torch.testing.assert_close(ours[JOINT].soft, theirs[JOINT].soft, rtol=1e-4, atol=1e-2)
    for request in (POINTS, SCENES):
        assert ours[request].cases == theirs[request].cases
        for a, b in zip(ours[request].scenes(-1), theirs[request].scenes(-1), strict=True):
            torch.testing.assert_close(a, b, **tolerance)
    order = [statistics[BALANCED].table.priorities.argsort() for statistics in (ours, theirs)]
    a, b = (statistics[BALANCED].features[by] for statistics, by in zip((ours, theirs), order, strict=True))
    torch.testing.assert_close(a, b, **tolerance)


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.6])
@pytest.mark.parametrize("patch", [(8, 8, 8), (5, 16, 9), (40, 40, 40)])
def test_every_voxel_counts_once(stream, cases, patch, overlap):
    net = Coordinates()
    statistics = stream(
        requests=(MOMENTS, JOINT, SoftmaxRequest()), net=net, taps=["features"], patch_size=patch, overlap=overlap
    )
    rows, labels, softmax = [], [], []
    with torch.no_grad():
        for case in cases:
            rows.append(net.features(case.image[None])[0].flatten(1).T)
            softmax.append(net(case.image[None])[0].softmax(dim=0).flatten(1).T)
            labels.append(case.labels.flatten())
    expected = ClassMoments.from_samples(torch.cat(rows), torch.cat(labels), 3)
    assert torch.equal(statistics[MOMENTS].count, expected.count)
    torch.testing.assert_close(statistics[MOMENTS].scatter, expected.scatter, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        statistics[JOINT].soft.sum(dim=0), torch.cat(softmax).double().sum(dim=0), rtol=1e-5, atol=0
    )
    stored = torch.cat([block.softmax for block in statistics[SoftmaxRequest()].rows()])
    # in the order of the windows; each class's values are the same
    torch.testing.assert_close(stored.sort(dim=0).values, torch.cat(softmax).sort(dim=0).values, rtol=0, atol=1e-3)


def test_coarse_features_are_upsampled_to_the_voxel(stream, make_case):
    # One window as large as the case: the statistics are those of the map upsampled as a whole.
    case, net = make_case(shape=(16, 16, 16)), Scaled()
    statistics = stream([case], net=net, taps=["down"], requests=(MOMENTS, POINTS, ScenePointsRequest(count=9999)))
    full = interpolate(net.down(case.image[None]), (16, 16, 16), mode="trilinear", align_corners=False)[0]
    expected = ClassMoments.from_samples(full.flatten(1).T, case.labels.flatten(), 3)
    torch.testing.assert_close(statistics[MOMENTS].mean, expected.mean, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(statistics[MOMENTS].scatter, expected.scatter, rtol=1e-5, atol=1e-6)
    by_point = statistics[ScenePointsRequest(count=9999)].scenes(-1)[0].flatten().sort().values
    torch.testing.assert_close(by_point, full.flatten().sort().values, rtol=0, atol=1e-6)


def test_points_are_those_of_upsample_then_index(stream, network, make_case):
    case = make_case(shape=PATCH)
    statistics = stream([case])
    maps = {}
    handle = network.upsamples[0].register_forward_hook(lambda module, inputs, output: maps.update(coarse=output))
    with torch.no_grad():
        network.eval()(case.image[None])
    handle.remove()
    full = interpolate(maps["coarse"], PATCH, mode="trilinear", align_corners=False)[0]
    for label, rows in statistics[POINTS].classes(-2)[0].items():
        own = full.flatten(1).T[case.labels.flatten() == label]
        assert len(rows) == min(20, len(own))
        assert max(float((own - row).abs().amax(dim=1).min()) for row in rows) <= 1e-6


def test_stages_are_read_next_to_the_taps_and_only_on_request(stream, network, make_case):
    case, request = make_case(shape=PATCH), StagePointsRequest(class_count=20)
    stages = NetworkStages({"input_block": 4, "downsamples.0": 8}, {"upsamples.1": 4})
    statistics = stream([case], requests=(*REQUESTS, request), stages=lambda: stages)
    assert statistics.taps == TAPS
    assert_same(statistics, stream([case]), rtol=0, atol=0)
    sample = statistics[request]
    assert (sample.encoder, sample.decoder) == ((("input_block", 4), ("downsamples.0", 8)), (("upsamples.1", 4),))
    maps = {}
    handle = network.downsamples[0].register_forward_hook(lambda module, inputs, output: maps.update(coarse=output))
    with torch.no_grad():
        network.eval()(case.image[None])
    handle.remove()
    full = interpolate(maps["coarse"], PATCH, mode="trilinear", align_corners=False)[0]
    at_points = full[(slice(None), *sample.table.positions.T)].T
    torch.testing.assert_close(sample.stage("downsamples.0"), at_points, **FORWARD)
    with pytest.raises(ValueError, match=r"`stages` must be given for StagePointsRequest\(class_count=20, seed=0\)"):
        stream([case], requests=(request,))


def test_batches_do_not_matter(stream):
    assert_same(stream(batch=3), stream())


def test_order_of_cases_does_not_matter(stream, cases):
    assert_same(stream(cases[::-1]), stream(), rtol=0, atol=0)


def test_split_over_cases_and_merged_it_is_one_pass(stream, cases):
    whole, merged = stream(), stream(cases[2:]).merge(stream(cases[:2]))
    assert_same(merged, whole, rtol=0, atol=0)
    assert CCFV(counts=(10, 20, 40), scene_count=100).compute(merged) == CCFV(
        counts=(10, 20, 40), scene_count=100
    ).compute(whole)


def test_ccfv_reads_them_and_says_what_is_fewer(stream):
    statistics = stream()
    for metric in (CCFV(counts=(10, 20, 40), scene_count=100), CCFVReleased(counts=(10, 20, 40))):
        score = metric.compute(statistics)
        assert score.value == score.value
        assert score.reason == "2 layers instead of 3"
    assert statistics.taps == TAPS
    assert statistics.z == 4
    assert statistics.backend == "torch"


def test_padding_does_not_count(stream, make_case):
    whole = make_case(shape=PATCH)
    case = replace(whole, image=whole.image[:, :, :9, :12], labels=whole.labels[:, :9, :12])
    statistics = stream([case])
    assert statistics[MOMENTS].n == statistics[JOINT].n == case.labels.numel()
    assert statistics[MOMENTS].count.tolist() == torch.bincount(case.labels.flatten().long(), minlength=3).tolist()


def test_a_nested_unet_is_tapped(stream, make_case):
    net = UNet(3, 1, 2, channels=(4, 8, 16), strides=(2, 2))
    statistics = stream([make_case(shape=PATCH)], net=net, taps=["model.1.submodule.2", "model.1"])
    assert statistics[MOMENTS].n == 16**3


def test_the_network_is_left_as_it_was(stream, network, make_case):
    network.train()
    network.upsamples[0].eval()
    stream([make_case(shape=PATCH)])
    assert network.training
    assert not network.upsamples[0].training
    network.train()
    with pytest.raises(ValueError, match=r"labels must be in 0 .. 1, got 2"):
        stream(classes=2)
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


def test_autocast_leaves_the_statistics_in_float64(stream, make_case):
    case = make_case(shape=PATCH)
    half, full = stream([case], amp=torch.bfloat16), stream([case])
    assert half[MOMENTS].scatter.dtype == torch.float64
    torch.testing.assert_close(half[MOMENTS].mean, full[MOMENTS].mean, rtol=0.1, atol=0.1)
    assert not torch.equal(half[MOMENTS].mean, full[MOMENTS].mean)


def test_bad_arguments_are_named(stream, cases, network):
    with pytest.raises(ValueError, match="`cases` must contain at least one case, got 0"):
        stream([])
    with pytest.raises(ValueError, match="`cases` must have distinct names, got 'case_00' twice"):
        stream([cases[0], cases[0]])
    with pytest.raises(ValueError, match="`batch` must be positive, got 0"):
        stream(batch=0)
    wrong = Case("w", torch.zeros(1, 4, 4, 4), torch.zeros(4, 4, 5, dtype=torch.uint8), (1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="case 'w': image and labels must be"):
        stream([wrong])
    with pytest.raises(ValueError, match="`network` must give logits"):
        stream(net=nn.Sequential(nn.AvgPool3d(2)), taps=["0"])
    with pytest.raises(ValueError, match="`backend` must be"):
        stream(backend="cuda")
