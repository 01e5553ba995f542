"""Sources of many classes: their softmax is not stored, LEEP and IoU-EEP take a second forward pass."""

import json

import pytest
import torch
from monai.losses import DiceCELoss
from monai.networks.nets import DynUNet

import benchmark.statistics
from baselines import LEEP, IoUEEP, iou_eep_score, leep_score
from benchmark.features import reduce_stream
from benchmark.features.windows import Grid, Window, batches
from benchmark.performance.workload import phantom_cases
from benchmark.statistics import KEPT_CLASSES, SOFTMAX, JointRequest
from tests.checkpoints import small_network, write_weights

EXACT = 1e-6  # largest error of a score; stored softmax is in half precision
PATCH = (24, 24, 24)


def trained(network, cases, steps):
    optimiser, loss = torch.optim.Adam(network.parameters(), 3e-3), DiceCELoss(to_onehot_y=True, softmax=True)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        corner = torch.randint(0, 40 - PATCH[0], (3,), generator=generator).tolist()
        image, labels = cases[step % len(cases)].read(tuple(slice(at, at + PATCH[0]) for at in corner))
        optimiser.zero_grad()
        loss(network(image[None]), labels[None, None]).backward()
        optimiser.step()
    return network.eval()


def every_voxel(network, cases):
    """The softmax of every voxel in float32, and the labels, without statistics or files."""
    softmax, labels = [], []
    with torch.no_grad():
        for case in cases:
            grid = Grid(case.shape, PATCH, 0.25)
            for places, views in batches(case, grid, grid.places, 1):
                window = Window(case.name, places[0], case.labels, output=network(views)[0], maps=[])
                for rows, targets in window.predictions():
                    softmax.append(rows)
                    labels.append(targets)
    return torch.cat(softmax).double(), torch.cat(labels)


@pytest.mark.parametrize(("classes", "steps"), [(118, 0), (20, 0), (3, 60)])
def test_scores_are_exact(tmp_path, classes, steps):
    """Against sums over the float32 softmax of every voxel: untrained and trained, stored and forwarded again."""
    cases = list(phantom_cases(2, size=40, classes=3))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = DynUNet(
            3, 1, classes, kernel_size=[3, 3, 3], strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=[4, 8, 12]
        )
        network = trained(network, cases, steps) if steps else network.eval()

    def run(requests, name):
        taps = ["upsamples.0", "upsamples.1"]
        return reduce_stream(network, taps, cases, requests, patch_size=PATCH, classes=3, folder=tmp_path / name)

    softmax, labels = every_voxel(network, cases)
    assert not steps or float((softmax.argmax(dim=1) == labels).float().mean()) > 0.8
    statistics = run([JointRequest(), SOFTMAX], "first")
    assert (SOFTMAX in statistics) == (classes <= KEPT_CLASSES)
    for metric, exact in ((LEEP(), leep_score), (IoUEEP(), iou_eep_score)):
        if SOFTMAX not in statistics:
            look = metric.second_look(statistics)
            statistics = statistics.extended(run([look], metric.name).entries)
        assert metric.compute(statistics).value == pytest.approx(exact(softmax, labels), abs=EXACT)


@pytest.fixture
def many(tmp_path):
    """A folder with the weights of a source of many classes."""
    return write_weights(small_network("DynUNet", classes=KEPT_CLASSES + 1), tmp_path / "pool" / "many.pt").parent


def test_score_records_the_second_pass(study, command_line, many, monkeypatch):
    more = ["experiment=synthetic", "source=state_dict", f"source.path={many}/many.pt", "target=synthetic_ball"]

    def score(metrics, *overrides):
        done = command_line("score", *more, f"metric=[{metrics}]", *study.overrides, *overrides)
        assert done.code == 0, done.err
        return list(study.store().finished("score").values())[-1]

    first = score("leep,iou_eep,logme")
    why = f"leep, iou_eep: the softmax of {KEPT_CLASSES + 1} source classes was not stored"
    assert first.tags["second_pass"] == why
    assert first.metrics["seconds/leep"] > first.metrics["seconds/second_pass"] > 0
    assert first.metrics["seconds/logme"] < first.metrics["seconds/leep"]
    monkeypatch.setattr("benchmark.scoring.passes.TargetPass.pair", None)  # no network can be built any more
    later = score("leep,logme")  # everything was saved with the first job
    assert later.metrics["leep"] == first.metrics["leep"]
    assert "second_pass" not in later.tags
    monkeypatch.undo()
    monkeypatch.setattr(benchmark.statistics, "KEPT_CLASSES", KEPT_CLASSES + 1)
    stored = score("leep,iou_eep,logme", "stream.cases=4")  # the same cases under another key
    assert "second_pass" not in stored.tags
    for name in ("leep", "iou_eep"):
        assert stored.metrics[name] == pytest.approx(first.metrics[name], abs=EXACT)


def test_score_reads_stored_softmax_for_other_options(study, command_line, many, monkeypatch):
    write_weights(small_network("DynUNet"), many / "few.pt")
    given = ["experiment=synthetic", "source=state_dict", f"source.path={many}/few.pt", "target=synthetic_ball"]
    values = []
    for options in ([], ["metric.leep.balanced=true"]):
        done = command_line("score", *given, "metric=[leep]", *options, *study.overrides)
        assert done.code == 0, done.err
        values.append(list(study.store().finished("score").values())[-1].metrics["leep"])
        monkeypatch.setattr("benchmark.scoring.passes.TargetPass._stream", None)  # nothing is forwarded any more
    assert values[0] != values[1]


def test_rank_takes_a_second_pass_and_resamples_it(prepared, command_line, many, tmp_path, monkeypatch):
    write_weights(small_network("DynUNet", seed=1), many / "few.pt")
    task = prepared / "synthetic" / "synthetic_ball"

    def rank(name):
        done = command_line(
            "rank", f"task={task}", f"source={many}", "metric=[leep]", f"output_dir={tmp_path / name}", "draws=5"
        )
        assert done.code == 0, done.err
        ranking = json.loads((tmp_path / name / "rank" / "synthetic_ball" / "ranking.json").read_text())
        assert ranking["forecast"]["timed"] == ["few", "many"]
        return {row["source"]: row for row in ranking["ranking"]}, ranking["notes"]

    ours, notes = rank("second")
    (note,) = [note for note in notes["many"] if "second forward pass" in note]
    assert note.startswith("leep: a second forward pass (")
    assert "few" not in notes or not any("second forward pass" in note for note in notes["few"])
    monkeypatch.setattr(benchmark.statistics, "KEPT_CLASSES", KEPT_CLASSES + 1)
    stored, _ = rank("stored")
    for column in ("leep", "leep_low", "leep_high"):
        assert ours["many"][column] == pytest.approx(stored["many"][column], abs=1e-5), column
    assert ours["many"]["leep_low"] < ours["many"]["leep_high"]
