"""Labels of whole cases against MONAI's sliding windows, in memory that does not grow with the volume."""

import os
import subprocess
import sys
import threading
from dataclasses import replace

import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from benchmark.data.files.cases import Case
from benchmark.training import prediction
from benchmark.training.prediction import BATCH, predict

ROUNDING = 1e-5  # weighted means of float32 logits about 1, summed in another order
MEMORY_GROWTH = 1.3  # of the peak from 64 x 64 x 128 to 64 x 64 x 512 voxels; the labels themselves grow by 1.5 MB


def convolution(*, channels=1, classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Conv3d(channels, classes, 3, padding=1).eval()


def random_case(*, seed=0, shape, channels=1):
    image = torch.randn(channels, *shape, generator=torch.Generator().manual_seed(seed))
    return Case(f"case_{seed}", image, torch.zeros(shape, dtype=torch.uint8), (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def network():
    return convolution()


def monai_logits(network, case, window, overlap):
    with torch.no_grad():
        logits = sliding_window_inference(
            case.image[None], window, 1, network, overlap=overlap, mode="gaussian", padding_mode="replicate"
        )
    return logits[0]


def assert_agree(labels, logits):
    """Labels (D, H, W) are those of logits (k, D, H, W), wherever rounding cannot decide."""
    first, second = logits.topk(2, dim=0).values
    clear = first - second > ROUNDING
    assert labels.dtype == torch.uint8
    assert clear.float().mean() > 0.99
    assert torch.equal(labels[clear], logits.argmax(0).to(torch.uint8)[clear])


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.7])
@pytest.mark.parametrize(
    ("shape", "window"),
    [
        ((12, 14, 31), (10, 10, 10)),
        ((31, 14, 12), (10, 10, 10)),
        ((13, 29, 11), (8, 10, 6)),
        ((17, 19, 7), (10, 10, 10)),  # smaller than the window along one axis, by an odd number
        ((6, 7, 9), (10, 12, 10)),
        ((5, 20, 18), (1, 8, 8)),  # slices of a 2D network
    ],
)
def test_labels_are_those_of_monai_s_sliding_windows(network, shape, window, overlap):
    case = random_case(seed=0, shape=shape)
    ((_, labels),) = predict(network, [case], window=window, overlap=overlap)
    assert_agree(labels, monai_logits(network, case, window, overlap))


def test_cases_of_any_shape_share_forward_passes_and_return_in_their_order():
    shapes = [(12, 14, 13), (10, 10, 10), (16, 12, 25), (6, 14, 13), (10, 10, 10), (10, 10, 10)]
    cases = [random_case(seed=seed, shape=shape, channels=2) for seed, shape in enumerate(shapes)]
    network, sizes = convolution(channels=2), []
    network.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    predictions = list(predict(network, cases, window=(10, 10, 10), overlap=0.5))
    assert set(sizes[:-1]) == {BATCH}
    assert [case for case, _ in predictions] == cases
    for case, labels in predictions:
        assert_agree(labels, monai_logits(network, case, (10, 10, 10), 0.5))


def test_a_slab_in_a_file_gives_the_same_labels(network, monkeypatch, tmp_path):
    case = random_case(seed=0, shape=(12, 14, 31))
    ((_, in_memory),) = predict(network, [case], window=(10, 10, 10))
    files = []
    monkeypatch.setattr(prediction, "SLAB_BYTES", 1)
    monkeypatch.setattr(prediction.tempfile, "tempdir", str(tmp_path))
    from_file = torch.from_file
    monkeypatch.setattr(torch, "from_file", lambda name, **kwargs: files.append(name) or from_file(name, **kwargs))
    ((_, in_file),) = predict(network, [case], window=(10, 10, 10))
    assert torch.equal(in_memory, in_file)
    assert len(files) == 1
    assert list(tmp_path.iterdir()) == []


def test_only_windows_of_a_case_are_read_and_at_most_two_batches_ahead(network):
    """Whole data sets of large volumes pass without being in memory at once."""
    given, boxes = [], []

    class Watched:
        def __init__(self, case):
            self.shape, self._case = case.shape, case

        def read_image(self, box):
            assert threading.current_thread() is not threading.main_thread()
            boxes.append(tuple(part.stop - part.start for part in box))
            return self._case.read_image(box)

    def cases():
        for seed in range(4 * BATCH):
            given.append(seed)
            yield Watched(random_case(seed=seed, shape=(12, 12, 12)))

    predictions = predict(network, cases(), window=(12, 12, 12))
    next(predictions)
    assert len(given) <= 2 * BATCH
    assert len(list(predictions)) == 4 * BATCH - 1
    assert set(boxes) == {(12, 12, 12)}


def test_an_error_of_reading_ends_the_prediction_after_the_cases_before_it(network):
    def cases():
        for seed in range(BATCH):
            yield random_case(seed=seed, shape=(12, 12, 12))
        raise OSError("cannot read the next case")

    predictions = predict(network, cases(), window=(12, 12, 12))
    names = [next(predictions)[0].name for _ in range(BATCH)]
    assert names == [f"case_{seed}" for seed in range(BATCH)]
    with pytest.raises(OSError, match="cannot read the next case"):
        next(predictions)


def test_bfloat16_changes_few_labels():
    case = random_case(seed=0, shape=(20, 20, 30))
    network, types = convolution(), set()
    network.register_forward_hook(lambda module, inputs, output: types.add(output.dtype))
    ((_, full),) = predict(network, [case], window=(10, 10, 10))
    ((_, half),) = predict(network, [case], window=(10, 10, 10), precision="bfloat16")
    assert types == {torch.float32, torch.bfloat16}
    assert 0.9 < float((full == half).float().mean()) < 1.0


def test_a_network_that_returns_no_map_of_the_window_is_refused():
    with pytest.raises(TypeError, match=r"`network` must return logits \(b, k, \*window\) for \(1, 1, 8, 8, 8\), got"):
        list(predict(nn.Conv3d(1, 2, 3), [random_case(seed=0, shape=(8, 8, 8))], window=(8, 8, 8)))


def test_no_cases_give_no_predictions(network):
    assert list(predict(network, [], window=(8, 8, 8))) == []


def test_the_case_is_not_changed(network):
    case = random_case(seed=0, shape=(12, 12, 20))
    before = replace(case, image=case.image.clone())
    list(predict(network, [case], window=(10, 10, 10)))
    assert torch.equal(case.image, before.image)


MEASURE = """
import sys

import torch
from torch import nn

from benchmark.data.files.cases import Case
from benchmark.jobs.resources import peak_memory, reset_peak_memory
from benchmark.training.prediction import predict

torch.set_num_threads(1)
network = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.LeakyReLU(), nn.Conv3d(8, 8, 1)).eval()

def peak(length):
    "MB above the network, for a case whose voxels take no memory until they are read"
    shape = (64, 64, length)
    case = Case("a", torch.zeros(1, 1, 1, 1).expand(1, *shape), torch.zeros(1, 1, 1).expand(*shape), (1.0,) * 3)
    before = float(open("/proc/self/statm").read().split()[1]) * 4096 / 2**20
    reset_peak_memory("cpu")
    list(predict(network, [case], window=(32, 32, 32)))
    return peak_memory("cpu") - before

peak(64)  # what torch keeps from its first convolution
print(peak(int(sys.argv[1])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_volume():
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}  # glibc then returns what is freed

    def peak(length):
        command = [sys.executable, "-c", MEASURE, str(length)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
        return float(done.stdout)

    short, long = peak(128), peak(512)
    print(f"peak of 64 x 64 x 128 voxels: {short:.1f} MB, of 64 x 64 x 512: {long:.1f} MB")
    assert short > 4.0  # the slab of 8 classes; else the measurement says nothing
    assert long <= MEMORY_GROWTH * short
