"""Bad input, one table: exit code 2, one clear line on standard error, no traceback, and finished results intact."""

import errno
import json
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from safetensors import SafetensorError

from benchmark.sources.weights import checkpoint
from tests.command_fixtures import BASIC, BENCH, Place

pytestmark = pytest.mark.bad_input

EXPERIMENT = "experiment=synthetic"
TRUTH = ["source=scratch", "target=synthetic_ball", EXPERIMENT]
IMAGE, LABELS = (f"{kind}Tr/synthetic_ball_train_00.nii.gz" for kind in ("images", "labels"))


@dataclass(frozen=True)
class Bad:
    """What is corrupt, the command that meets it, and what its one line must say."""

    line: str
    corrupt: object = None
    command: str = "truth"
    overrides: list[str] = field(default_factory=lambda: TRUTH)


def task(place):
    return place.task("synthetic_ball")


def rewrite(path, change, *, affine=None, dtype=None):
    """Write a volume anew, changed in place."""
    volume = nib.load(path)
    values = np.asarray(volume.dataobj).astype(dtype or volume.get_data_dtype())
    values = change(values)
    nib.save(nib.Nifti1Image(values, volume.affine if affine is None else affine), path)


def describe(place, change):
    path = task(place) / "dataset.json"
    path.write_text(json.dumps(change(json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")


def cut_short(place, monkeypatch):
    path = task(place) / IMAGE
    path.write_bytes(path.read_bytes()[:200])


def other_shape(place, monkeypatch):
    rewrite(task(place) / LABELS, lambda values: values[:-1])


def other_affine(place, monkeypatch):
    rewrite(task(place) / LABELS, lambda values: values, affine=np.diag([-1.0, -1.0, 2.0, 1.0]))


def unknown_label(place, monkeypatch):
    rewrite(task(place) / LABELS, lambda values: np.where(values == 1, 9, values).astype(np.uint8))


def no_foreground(place, monkeypatch):
    for path in (task(place) / "labelsTr").glob("synthetic_ball_train_*"):
        rewrite(path, np.zeros_like)


def nan_voxels(place, monkeypatch):
    def change(values):
        values[1, 2, 3] = np.nan
        return values

    rewrite(task(place) / IMAGE, change, dtype=np.float32)


def not_utf8(place, monkeypatch):
    (task(place) / "dataset.json").write_bytes(b'{"name": "\xe9"}')


def leaves_the_folder(place, monkeypatch):
    def change(content):
        content["training"][0]["image"] = "../../../../etc/hostname"
        return content

    describe(place, change)


def unknown_value_in_labels(place, monkeypatch):
    describe(place, lambda content: content | {"labels": {"background": 0, "ball": 1}})


def no_volume(place, monkeypatch):
    (task(place) / LABELS).unlink()


def full_disk(place, monkeypatch):
    def failing(*args, **kwargs):
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", failing)


def full_disk_elsewhere(place, monkeypatch):
    def failing(*args, **kwargs):
        raise OSError(errno.ENOSPC, "No space left on device", "weights.safetensors")

    monkeypatch.setattr(checkpoint, "save_file", failing)


TABLE = {
    "a corrupt volume": Bad(rf"cannot read \S*{IMAGE} as NIfTI: .+", cut_short),
    "shapes differ": Bad(
        rf"cannot use \S*{LABELS}: its shape \(23, 24, 24\) differs from its image's \(24, 24, 24\)", other_shape
    ),
    "affines differ": Bad(
        rf"cannot use \S*{LABELS}: its affine differs from its image's by .* voxels .*", other_affine
    ),
    "an unknown label": Bad(
        rf"cannot use \S*{LABELS}: label values must be in dataset\.json \[0, 1\], got 9", unknown_label
    ),
    "no foreground": Bad(
        r"synthetic_ball: split train has no foreground voxel in any case", no_foreground
    ),
    "NaN voxels": Bad(rf"cannot use \S*{IMAGE}: voxels must be finite, got 1 NaN or inf", nan_voxels),
    "dataset.json is not UTF-8": Bad(r"cannot read \S*synthetic_ball/dataset\.json as UTF-8 JSON: .+", not_utf8),
    "dataset.json is not UTF-8, prepare": Bad(
        r"cannot read \S*synthetic_ball/dataset\.json as UTF-8 JSON: .+",
        not_utf8, "prepare", ["task=synthetic_ball", "suite=synthetic"],
    ),
    "a path that leaves the folder": Bad(
        r"synthetic_ball/dataset\.json: paths must stay inside the folder, got \.\./\.\./\.\./\.\./etc/hostname",
        leaves_the_folder,
    ),
    "labels of another format": Bad(
        r"synthetic_ball/dataset\.json: labels map names to values, .*: write .*", unknown_value_in_labels
    ),
    "a missing volume": Bad(rf"{LABELS} not found, but dataset\.json lists it", no_volume),
    "a corrupt volume, scored": Bad(rf"cannot read \S*{IMAGE} as NIfTI: .+", cut_short, "score"),
    "NaN voxels, scored": Bad(rf"cannot use \S*{IMAGE}: voxels must be finite, got 1 NaN or inf", nan_voxels, "score"),
    "a full disk": Bad(
        r"cannot write \S+source: .*No space left on device.*",
        full_disk, "pretrain", ["source=scratch", "source.seed=9", EXPERIMENT],
    ),
    "a full disk, told by the system": Bad(
        r"cannot write \S+source: .*No space left on device.*",
        full_disk_elsewhere, "pretrain", ["source=scratch", "source.seed=9", EXPERIMENT],
    ),
    "an unknown setting": Bad(r".*budgets.*", overrides=[*TRUTH, "trainer.budgets.steps=3"]),
    "an unknown source": Bad(r".*source/liver_longer.*", overrides=["source=liver_longer", "target=synthetic_ball"]),
    "an unknown target": Bad(r".*target/nowhere.*", overrides=["source=scratch", "target=nowhere"]),
    "an unknown metric": Bad(r".*metric/ccvf.*", command="score", overrides=[*TRUTH, "metric=[ccvf]"]),
    "trust that is no boolean": Bad(
        r"trust must be true or false, got flase", command="inspect", overrides=["path=/tmp", "trust=flase"]
    ),
    "an unknown last stage": Bad(
        r"until must be prepare, pretrain, truth, score or null, got scores",
        command="bench",
        overrides=["until=scores"],
    ),
    "an unknown experiment": Bad(r".*experiment/scan.*", command="bench", overrides=["experiment=scan"]),
    "another precision of training": Bad(
        r"trainer\.amp must be null, false, float32 or bfloat16, got half", overrides=[*TRUTH, "trainer.amp=half"]
    ),
    "determinism that is no boolean": Bad(
        r"device\.deterministic must be true or false, got maybe", overrides=[*TRUTH, "device.deterministic=maybe"]
    ),
    "an unknown way of tuning": Bad(
        r"trainer\.tune must be one of all, decoder, last, head, got most", overrides=[*TRUTH, "trainer.tune=most"]
    ),
    "a wrong tap": Bad(
        r"arch dynunet: .+ must name modules, got nowhere",
        command="pretrain", overrides=["source=scratch", "source.arch.taps=[nowhere]", EXPERIMENT],
    ),
    "a window that falls": Bad(
        r"normalisation\.window must be increasing, got \(1, 0\)",
        overrides=[*TRUTH, "target.normalisation.window=[1,0]"],
    ),
}  # fmt: skip


def finished(place):
    """Every finished run of the store, with all that it holds; read as SQL, since a client takes seconds to open."""
    with closing(sqlite3.connect(place.folder / "mlflow.db")) as store:
        runs = [run for (run,) in store.execute("SELECT run_uuid FROM runs WHERE status = 'FINISHED'")]
        assert runs
        return {
            run: [
                sorted(store.execute(f"SELECT * FROM {table} WHERE run_uuid = ?", [run]), key=repr)
                for table in ("runs", "params", "metrics", "tags")
            ]
            for run in runs
        }


@pytest.fixture(scope="module")
def untouched(bench, tmp_path_factory):
    """A copy of the whole study for the commands that corrupt nothing."""
    folder = tmp_path_factory.mktemp("untouched")
    for name in ("data", "outputs"):
        shutil.copytree(bench[0].folder / name, folder / name)
    shutil.copy(bench[0].folder / "mlflow.db", folder / "mlflow.db")
    return Place(folder)


@pytest.mark.usefixtures("bench")  # named, so that it is made once for all tests of it
@pytest.mark.parametrize("case", TABLE)
def test_bad_input(request, command_line, monkeypatch, case):
    bad = TABLE[case]
    place = request.getfixturevalue("again" if bad.corrupt else "untouched")
    before = finished(place)
    if bad.corrupt:
        bad.corrupt(place, monkeypatch)
    done = command_line(bad.command, *bad.overrides, *place.overrides)
    assert done.code == 2
    assert re.fullmatch(rf"error: (\S*/)?{bad.line}\n", done.err), done.err
    assert "Traceback" not in done.out
    assert finished(place) == before
    left = [path for path in (place.folder / "outputs").rglob(".*-*") if path.is_dir()]
    assert left == [], "something half written is left"


def test_a_bench_with_a_corrupt_volume_finishes_what_it_can(again, command_line):
    """Jobs that read the volume fail, each told by its own line; the others stay finished."""
    before = finished(again)
    cut_short(again, None)
    done = command_line("bench", *BENCH, BASIC, "until=score", *again.overrides)
    assert done.code == 3, "some jobs of this run finished"
    assert re.fullmatch(rf"error: cannot read \S*{IMAGE} as NIfTI: .+\n", done.err), done.err
    assert re.search(
        r"12 jobs failed; finished jobs are kept; run again to resume, or with `--retry failed` to run only these:",
        done.out,
    )
    told = re.findall(rf"  \S+ source=\S+ .*target=synthetic_ball.*: cannot read \S*{IMAGE} as NIfTI: .*", done.out)
    assert len(told) == 12  # 8 of the study, 2 of longer training, 2 of a repeated source
    logs = [Path(name) for name in re.findall(r"; log: (.*)\)", done.out)]
    assert len(logs) == 12
    assert all(re.search(rf"stopped: cannot read \S*{IMAGE}", log.read_text(encoding="utf-8")) for log in logs)
    assert "Traceback" not in done.out
    after = finished(again)
    assert {run: after[run] for run in before} == before
