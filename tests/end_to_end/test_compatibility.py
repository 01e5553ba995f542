"""`inspect path= task=` says before any pass what `rank` then does: which sources are skipped, and what is adapted."""

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from rich.console import Console

from benchmark import inspect
from benchmark.data.files import cases as reading
from tests.checkpoints import small_network, write_nnunet, write_weights

METRICS = "metric=[logme,leep]"
# adaptation -> how the notes of a ranking begin that say the same
NOTES = {
    "channels": ("its one input sees the mean", "each of its"),
    "spacing": ("sees the target at its own spacing", "trained at"),
    "intensities": ("sees intensities by its own plan", "intensities by the target's plan"),
}


def write_task(folder, *, shape, channels, cases=3):
    """A data set in the layout of MSD, of (x, y, z) voxels."""
    random = np.random.default_rng(0)
    listed = []
    for index in range(cases):
        labels = np.zeros(shape, np.uint8)
        labels[4 + index : 12, 4:12] = 1
        image = random.normal(0, 0.2, (*shape, channels)).astype(np.float32) + labels[..., None]
        for kind, array in (("images", image), ("labels", labels)):
            (folder / f"{kind}Tr").mkdir(parents=True, exist_ok=True)
            volume = nib.Nifti1Image(array, np.diag([0.8, 0.8, 2.5, 1.0]))
            nib.save(volume, folder / f"{kind}Tr" / f"case_{index}.nii.gz")
        listed.append({"image": f"./imagesTr/case_{index}.nii.gz", "label": f"./labelsTr/case_{index}.nii.gz"})
    description = {"name": folder.name, "modality": {str(channel): "CT" for channel in range(channels)},
                   "labels": {"0": "background", "1": "Liver"}, "training": listed, "test": []}  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Networks of one, two and four channels, of two dimensions, without a head, and one with plans."""
    folder = tmp_path_factory.mktemp("pool")
    for channels in (1, 2, 4):
        write_weights(small_network("DynUNet", channels=channels), folder / f"channels_{channels}.pt")
    write_weights(small_network("DynUNet", dims=2), folder / "slices.pt")
    weights = small_network("DynUNet").state_dict()
    torch.save({name: w for name, w in weights.items() if not name.startswith("output_block")}, folder / "headless.pt")
    write_nnunet(folder / "planned" / "Dataset501_Made")
    return folder


SKIPPED = {"volumes": {"channels_2"}, "images": {"channels_1", "channels_2", "channels_4", "headless"}}
TASKS = {"volumes": {"shape": (20, 18, 14), "channels": 4}, "images": {"shape": (36, 40, 1), "channels": 1}}


def verdict_of(done):
    """The last line, and the rows before it."""
    assert done.code == 0, done.err
    return done.out.strip().splitlines()[-1], " ".join(re.sub("[│┃]", " ", done.out).split())


@pytest.mark.parametrize("kind", TASKS)
def test_the_verdict_is_what_a_ranking_does(kind, pool, command_line, tmp_path, monkeypatch):
    task = write_task(tmp_path / kind, **TASKS[kind])
    store = f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"
    ranked = command_line("rank", f"task={task}", f"source={pool}", METRICS, "draws=2", "draws_of_points=1",
                          f"output_dir={tmp_path}/outputs", store)  # fmt: skip
    assert ranked.code == 0, ranked.err
    written = json.loads((tmp_path / "outputs" / "rank" / kind / "ranking.json").read_text(encoding="utf-8"))
    assert set(written["skipped"]) == SKIPPED[kind]
    monkeypatch.setattr(reading, "read", None)  # no voxel is read
    for name in {row["source"] for row in written["ranking"]} | set(written["skipped"]):
        place = pool / ("planned" if "Dataset501" in name else f"{name}.pt")
        done = command_line("inspect", f"path={place}", f"task={task}", METRICS, f"output_dir={tmp_path}/none", store)
        verdict, rows = verdict_of(done)
        if name in written["skipped"]:
            reason = written["skipped"][name].replace(name, place.stem)
            assert verdict == f"cannot be scored: {reason}"
            continue
        notes = written["notes"].get(name, [])
        names = re.fullmatch(r"fits(?: with (\d) adaptations? \(([a-z, ]+))?.*", verdict)
        changed = names[2].split(", ") if names[2] else []
        assert len(changed) == int(names[1] or 0)
        for adaptation, begins in NOTES.items():
            assert (adaptation in changed) == any(note.startswith(begins) for note in notes), (name, verdict, notes)
        assert ("dimensions" in changed) == (name == "slices" and kind == "volumes")
        reasons = [row for row in written["reasons"] if row["source"] == name and row["metric"] == "leep"]
        assert ("no head: leep will be NaN" in verdict) == bool(reasons)
        assert "about" in rows
    assert not (tmp_path / "none").exists()
    assert not (tmp_path / "mlflow.db").exists()


def test_the_rows_say_what_is_compared(pool, command_line, tmp_path, monkeypatch):
    task = write_task(tmp_path / "volumes", shape=(60, 50, 14), channels=1)
    monkeypatch.chdir(tmp_path)
    verdict, rows = verdict_of(command_line("inspect", f"path={pool / 'planned'}", f"task={task}"))
    assert verdict == "fits with 2 adaptations (spacing, intensities)"
    for text in (
        "3D network, 3D volumes",
        "it takes 1, and the target has 1",
        "1 x 1 x 1 mm, by its own plan: the median case (case_1, 2.5 x 0.8 x 0.8 mm) is resampled by 2.5 x 0.8 x 0.8",
        "windows of 32x32x32 voxels (its own patch): 8 for the median case of 35x40x48 voxels",
        "CT window -90 .. 280, minus 50, divided by 60 (CTNormalization), by its own plan",
        "1 of the target's 1 in common: liver; its own only: tumour",
        "it predicts 3 classes",
        "an estimate, no pass was run",
    ):
        assert text in rows
    verdict, rows = verdict_of(
        command_line("inspect", f"path={pool / 'planned'}", f"task={task}", "preparation.spacing=target")
    )
    assert "by the target's plan (preparation.spacing=target); it was trained at 1 x 1 x 1 mm" in rows
    assert [path.name for path in tmp_path.iterdir()] == ["volumes"]


def test_a_task_of_the_suite_is_named(pool, prepared, command_line, tmp_path):
    places = [f"data_dir={prepared}", f"output_dir={tmp_path}/none"]
    done = command_line("inspect", f"path={pool / 'channels_1.pt'}", "task=synthetic_ball", *places)
    assert verdict_of(done)[0] == "fits (spacing assumed; patch assumed; intensities assumed)"


def test_faulty_data_are_an_error(pool, command_line, tmp_path):
    task = write_task(tmp_path / "volumes", shape=(20, 18, 14), channels=1)
    shutil.copy(pool / "channels_1.pt", task / "labelsTr" / "case_1.nii.gz")
    done = command_line("inspect", f"path={pool / 'channels_1.pt'}", f"task={task}")
    assert done.code == 2
    assert re.fullmatch(r"error: cannot read .*labelsTr/case_1\.nii\.gz: .+\n", done.err)


def test_a_path_may_be_named_as_for_rank(pool, command_line, tmp_path):
    path = tmp_path / "net [final], v2.pt"
    shutil.copy(pool / "channels_1.pt", path)
    done = command_line("inspect", f"source={path}")
    assert done.out.splitlines()[0].strip() == "source net [final], v2"


def test_the_help_explains_it(command_line):
    done = command_line("inspect", "--help")
    assert "With `task=FOLDER`" in done.out
    assert "== Configuration groups ==" in done.out


@pytest.mark.parametrize("task", [False, True], ids=["alone", "with a task"])
def test_a_closed_pipe_is_no_fault_of_the_source(pool, command_line, tmp_path, monkeypatch, task):
    """As in `inspect ... | head`, for which rich ends the program."""

    class Closed(Console):
        def print(self, *shown, **settings):
            if not task or str(shown[0]).startswith("fits"):
                raise SystemExit(1)

    monkeypatch.setattr(inspect, "wide_console", Closed)
    more = [f"task={write_task(tmp_path / 'images', shape=(20, 18, 14), channels=4)}"] if task else []
    done = command_line("inspect", f"path={pool / 'channels_1.pt'}", *more, f"output_dir={tmp_path}")
    assert done.code == 1
    assert "sys.exit" not in done.err
