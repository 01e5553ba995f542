"""`python -m benchmark.rank` on checkpoints of every kind, in three dimensions and in two; again; interrupted."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from benchmark.ranking import case_passes as passes
from benchmark.ranking.case_passes import reduce_stream
from benchmark.ranking.default_metrics import DEFAULT_METRICS, EVIDENCE
from benchmark.ranking.pool_ranking import make_ranker
from tests.quick_nnunet import quick_nnunet

FEW = ["draws=5", "draws_of_points=2", "metric.nleep.count=200"]
QUICK = ["metric=[ccfv,logme,knn]", "draws=20", "draws_of_points=2", "metric.knn.count=200"]
# Sums over windows in another order, in float32 features; a network's own rounding differs by the size of a batch
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def ball(prepared):
    """A data set of one's own: a folder in the layout of MSD."""
    return prepared / "synthetic" / "synthetic_ball"


@pytest.fixture
def rank(command_line, tmp_path):
    """Ranks into a folder of this test's own."""

    def run(*overrides, into=tmp_path):
        return command_line(
            "rank", f"output_dir={into}/outputs", f"tracking.uri=sqlite:///{into}/mlflow.db", *overrides
        )

    return run


def table(folder, task="synthetic_ball"):
    return pd.read_csv(folder / "outputs" / "rank" / task / "ranking.csv", index_col="source")


def flat_task(folder, *, cases=4, size=(40, 36)):
    """A data set of 2D images in the layout of MSD."""
    import nibabel as nib

    random = np.random.default_rng(0)
    listed = []
    for index in range(cases):
        labels = np.zeros((*size, 1), np.uint8)
        labels[8 + index : 20 + index, 10:24] = 1
        image = (random.normal(0, 0.2, labels.shape) + labels).astype(np.float32)
        for kind, array in (("images", image), ("labels", labels)):
            (folder / f"{kind}Tr").mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / f"{kind}Tr" / f"flat_{index}.nii.gz")
        listed.append({"image": f"./imagesTr/flat_{index}.nii.gz", "label": f"./labelsTr/flat_{index}.nii.gz"})
    description = {"name": "flat", "modality": {"0": "photo"}, "labels": {"0": "background", "1": "spot"},
                   "training": listed, "test": []}  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_a_pool_of_every_kind_is_ranked(rank, ball, checkpoints, tmp_path, monkeypatch):
    more = tmp_path / "more"
    more.mkdir()
    (more / "notes.txt").write_text("not a network")
    for name in ("cut.pt", "torn.pt"):
        (more / name).write_bytes(checkpoints["dynunet_3d"].read_bytes()[:500])
    pool = f"source=[{checkpoints['unet_3d'].parent},{more},scratch_wide]"
    done = rank(f"task={ball}", pool, *FEW)
    assert done.code == 0, done.err
    found = table(tmp_path)
    assert set(found.index) == {*checkpoints, "scratch_wide", "cut", "torn"}
    scored = found[found["skipped"].isna()]
    assert set(scored.index) == {*checkpoints, "scratch_wide"}
    assert sorted(scored["place"]) == pytest.approx(range(1, len(scored) + 1), abs=3)  # ties share a place
    for metric in DEFAULT_METRICS:
        assert scored[metric].notna().all(), metric
        assert (scored[f"{metric}_low"] <= scored[metric]).all()
        assert (scored[metric] <= scored[f"{metric}_high"]).all()
    assert "cut" in done.out
    assert " ".join(done.out.split()).count(EVIDENCE) == 1
    written = json.loads((tmp_path / "outputs/rank/synthetic_ball/ranking.json").read_text(encoding="utf-8"))
    assert written["metric_choice"] == EVIDENCE
    assert not (tmp_path / "mlflow.db").exists()
    monkeypatch.setattr(passes, "reduce_stream", None)  # a second run forwards nothing
    before = (tmp_path / "outputs/rank/synthetic_ball/ranking.csv").read_bytes()
    assert rank(f"task={ball}", pool, *FEW).code == 0
    assert (tmp_path / "outputs/rank/synthetic_ball/ranking.csv").read_bytes() == before


@pytest.mark.slow
def test_images_of_two_dimensions_skip_what_has_three(rank, checkpoints, tmp_path):
    task = flat_task(tmp_path / "flat")
    done = rank(f"task={task}", f"source={checkpoints['unet_3d'].parent}", *QUICK)
    assert done.code == 0, done.err
    found = table(tmp_path, "flat")
    assert "default metrics" not in done.out
    flat = {name for name in checkpoints if name.endswith("2d")}
    assert set(found[found["skipped"].isna()].index) == flat
    assert found.loc["unet_3d", "skipped"] == "unet_3d is a 3D network, but the target's images are 2D"


def test_a_killed_run_goes_on_case_by_case(rank, ball, checkpoints, tmp_path, monkeypatch):
    forwarded = []

    def killed(network, taps, cases, *rest, **named):
        if len(forwarded) == 2:
            raise KeyboardInterrupt
        forwarded.append(cases[0].name)
        return reduce_stream(network, taps, cases, *rest, **named)

    command = (f"task={ball}", f"source={checkpoints['dynunet_3d']}", *QUICK)
    monkeypatch.setattr(passes, "reduce_stream", killed)
    assert rank(*command).code == 130
    seen = list(forwarded)
    monkeypatch.setattr(passes, "reduce_stream", lambda network, taps, cases, *rest, **named: (
        forwarded.append(cases[0].name) or reduce_stream(network, taps, cases, *rest, **named)
    ))  # fmt: skip
    assert rank(*command).code == 0
    assert len(seen) == 2
    assert len(set(forwarded)) == len(forwarded) == 4
    whole = rank(*command, into=tmp_path / "anew")
    assert whole.code == 0
    columns = ["ccfv", "ccfv_low", "logme", "knn", "knn_high", "standing"]
    assert table(tmp_path)[columns].equals(table(tmp_path / "anew")[columns])


@pytest.fixture
def quick():
    """nnU-Net in this process is quick."""
    with quick_nnunet():
        yield


def counted(monkeypatch):
    """The names of the cases that go through a network from now on."""
    names = []
    monkeypatch.setattr(passes, "reduce_stream", lambda network, taps, cases, *rest, **named: (
        names.append(cases[0].name) or reduce_stream(network, taps, cases, *rest, **named)
    ))  # fmt: skip
    return names


def test_a_mended_case_costs_one_case(rank, ball, checkpoints, tmp_path, monkeypatch):
    task = tmp_path / "balls"
    shutil.copytree(ball, task)
    command = (f"task={task}", f"source={checkpoints['dynunet_3d']}", "metric=[ccfv,logme,leep]", "draws=20")
    assert rank(*command).code == 0
    for kind in ("image", "label"):  # mended: by a case of the test split
        other = task / f"{kind}sTs" / "synthetic_ball_test_00.nii.gz"
        shutil.copy(other, task / f"{kind}sTr" / "synthetic_ball_train_02.nii.gz")
    names = counted(monkeypatch)
    assert rank(*command).code == 0
    assert names == ["synthetic_ball_train_02"]
    assert rank(*command, into=tmp_path / "anew").code == 0
    assert len(names) == 5
    columns = ["ccfv", "ccfv_low", "logme", "leep", "leep_high", "standing"]
    assert table(tmp_path, "balls")[columns].equals(table(tmp_path / "anew", "balls")[columns])


@pytest.mark.usefixtures("quick")
def test_where_a_case_changes_the_plan_all_cases_are_passed_again(ball, tmp_path, monkeypatch, compose_command):
    task = tmp_path / "balls"
    shutil.copytree(ball, task)
    description = json.loads((task / "dataset.json").read_text(encoding="utf-8"))
    folder = {"folder": str(task), "test_share": 0.0, "_convert_": "all"}
    plan = {"_target_": "benchmark.data.preprocessing.planning.Plan", "folder": str(tmp_path / "plans")}
    names = counted(monkeypatch)
    for kind, passed in (("zscore", 1), ("nnunet", 4)):
        node = {"_target_": "benchmark.data.tasks.msd.MsdTask", "plan": plan | {"kind": kind}} | folder
        for listed, expected in ((3, 3), (4, passed)):
            content = description | {"modality": {"0": "CT"}, "training": description["training"][:listed]}
            (task / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
            cfg = compose_command("rank", "metric=[logme]", f"output_dir={tmp_path}/outputs")
            source = compose_command("pretrain", "source=scratch").source
            outcome = make_ranker(cfg, OmegaConf.create(node)).outcome("scratch", source)
            assert outcome.estimates, outcome.skipped
            assert len(names) == expected, kind
            names.clear()


@pytest.fixture
def threads():
    """Gives the process its threads back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_order_batch_and_threads_do_not_matter(rank, ball, checkpoints, tmp_path):
    turned = tmp_path / "turned"
    shutil.copytree(ball, turned)
    description = json.loads((turned / "dataset.json").read_text(encoding="utf-8"))
    description["training"] = description["training"][::-1]
    (turned / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    source = f"source={checkpoints['dynunet_3d']}"
    window = "stream.window=[16,16,16]"
    plain = rank(f"task={ball}", source, *QUICK, window, into=tmp_path / "plain")
    other = rank(f"task={turned}", source, *QUICK, window, "stream.batch=3", "threads=2", into=tmp_path / "other")
    assert (plain.code, other.code) == (0, 0)
    a, b = table(tmp_path / "plain"), table(tmp_path / "other", "turned")
    for metric in ("ccfv", "logme", "knn"):
        for column in (metric, f"{metric}_low", f"{metric}_high"):
            assert a[column].tolist() == pytest.approx(b[column].tolist(), abs=TOLERANCE, rel=TOLERANCE), column


@pytest.mark.bad_input
@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["source=scratch"], "task must be a folder of labelled cases or one of"),
        (["task=/no/such/place", "source=scratch"], "task /no/such/place not found: it must be a folder"),
        (["task=BALL"], "source must be a folder of checkpoints, paths or names of"),
        (["task=BALL", "source=/no/such/place"], "source /no/such/place not found: it is neither a file nor a folder"),
        (["task=BALL", "source=[scratch,/no/such*.pt]"], "source /no/such*.pt: no file or folder matches this pattern"),
        (["task=BALL", "source=scratch", "by=dice"], "by must be standing or one of"),
        (["task=BALL", "source=scratch", "split=validation"], "got validation"),
        (["task=BALL", "source=synthetic_ball"], "none of the sources could be scored: synthetic_ball: "),
    ],
)
def test_bad_input_is_told_in_one_line(rank, ball, overrides, line):
    done = rank(*(override.replace("BALL", str(ball)) for override in overrides))
    assert done.code == 2
    assert [one for one in done.err.splitlines() if one.startswith("error: ")] == [done.err.splitlines()[-1]]
    assert line in done.err
