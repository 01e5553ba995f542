"""Tasks cut from a scan: a small package stands in for those on PyPI, so nothing is downloaded."""

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.data.embedded.deformation import Deformation
from benchmark.data.embedded.packages import Package
from benchmark.data.embedded.scans import SPLIT_SEEDS, ScanFiles, ScansTask, case_seed
from benchmark.data.preprocessing.normalise import Normalisation
from benchmark.data.tasks.msd_layout import DecathlonTask, write_nifti
from benchmark.errors import InputError

WINDOW = (-100.0, 200.0)
SIZE = (12, 12, 10)
COUNTS = {"source_train": 2, "source_validation": 1, "train": 2, "validation": 2, "test": 2, "external": 1}
KEYS = {
    "source_train": "source_training",
    "source_validation": "source_validation",
    "train": "training",
    "validation": "validation",
    "test": "test",
    "external": "external",
}
SEEDS = [1246962428, 558288998, 2707966756, 4108649244, 3417295053, 1074549372]  # of the second cases of task 4


def _package(cache: Path, name: str, *, seed: int) -> Package:
    """A wheel with a scan of an organ in two parts, labelled 5 and 6, put where fetched packages lie."""
    random = np.random.default_rng(seed)
    labels = np.zeros((24, 26, 22), np.uint8)
    labels[6:12, 6:20, 6:16] = 5
    labels[12:18, 6:20, 6:16] = 6
    image = np.where(labels > 0, 120.0, -40.0) + random.normal(scale=10.0, size=labels.shape)
    path = cache / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for kind, volume in (("image", image.astype(np.float32)), ("labels", labels)):
            write_nifti(volume, cache / f"{kind}.nii.gz", spacing=2.0)
            wheel.write(cache / f"{kind}.nii.gz", f"{name}/{kind}.nii.gz")
            (cache / f"{kind}.nii.gz").unlink()
    members = (f"{name}/image.nii.gz", f"{name}/labels.nii.gz")
    return Package(name, "1.0", path.name, hashlib.sha256(path.read_bytes()).hexdigest(), members)


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("packages")


@pytest.fixture(scope="module")
def scans(cache) -> list[ScanFiles]:
    """Two patients."""
    packages = [_package(cache, name, seed=seed) for seed, name in enumerate(("fakescan", "otherscan"))]
    return [ScanFiles(one, *one.members, "CT", 2.0, WINDOW, "CC0-1.0") for one in packages]


@pytest.fixture
def task(scans, tmp_path) -> ScansTask:
    return ScansTask(
        "organ",
        tmp_path / "data" / "Task01_Organ",
        Normalisation(WINDOW),
        splits=KEYS,
        scan=scans[0],
        classes_from={"organ": [5, 6]},
        size=SIZE,
        counts=COUNTS,
        seed=3,
        external=scans[1],
        external_from={"organ": [6]},
        external_size=(12, 12, 6),
    )


def _contents(folder: Path) -> dict[str, int]:
    """Every file with the time at which it was written."""
    return {path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_task_is_cut_end_to_end(task, cache):
    assert task.prepare(cache) is True
    folder = Path(task.folder)
    description = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    assert description["labels"] == {"0": "background", "1": "organ"}
    assert description["licence"] == "CC0-1.0"
    assert description["reference"] == "fakescan 1.0, fakescan/image.nii.gz"
    assert description["package_sha256"] == task.scan.package.sha256
    assert (description["numTraining"], description["numTest"]) == (2, 2)
    assert {split: len(description[key]) for split, key in KEYS.items()} == COUNTS
    assert sorted(path.name for path in folder.iterdir()) == [
        "dataset.json",
        "imagesTr",
        "imagesTs",
        "labelsTr",
        "labelsTs",
    ]
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # nothing half made is left
    for split in COUNTS:
        for case in task.cases(split):
            assert case.image.shape == (1, *((12, 12, 6) if split == "external" else SIZE))
            assert case.spacing == (2.0, 2.0, 2.0)
            assert -1.0 <= case.image.min() < case.image.max() <= 1.0
            assert set(case.labels.unique().tolist()) <= {0, 1}
            assert case.labels.any()


def test_what_is_there_is_any_task_in_msd_layout(task, cache):
    task.prepare(cache)
    plain = DecathlonTask("organ", task.folder, Normalisation(WINDOW))
    assert len(plain.cases("train")) == 2
    assert plain.labels == task.labels


def test_no_case_of_one_split_is_in_another(task, cache):
    assert len(set(SPLIT_SEEDS.values())) == len(SPLIT_SEEDS)
    task = replace(task, external=task.scan, external_from=task.classes_from, external_size=SIZE)  # only seeds differ
    task.prepare(cache)
    images = [case.image.numpy().tobytes() for split in COUNTS for case in task.cases(split)]
    assert len(set(images)) == len(images)


def test_no_seed_of_the_suite_is_used_twice(compose_command):
    """Over all splits of all tasks: what is fine-tuned, chosen by or tested on was seen by no pre-training."""
    suite = compose_command("bench").suite
    tasks = [compose_command("prepare", f"task={name}").task for name in suite.tasks]
    measured = {"train": 5, "validation": 6, "test": 24, "external": 24}
    for task in tasks:
        own = {split: task.counts[split] for split in measured}
        assert own == measured or (task.name not in suite.targets and not any(own.values()))
    seeds = [
        case_seed(task.seed, split, index)
        for task in tasks
        for split in task.counts
        for index in range(task.counts[split])
    ]
    assert len(tasks) > 5
    assert len(set(seeds)) == len(seeds)


def test_the_seeds_of_cases_stay():
    """Another seed would be another truth under the same name."""
    assert [case_seed(4, split, 1) for split in KEYS] == SEEDS


def test_a_split_does_not_depend_on_how_large_the_others_are(task, cache, tmp_path):
    task.prepare(cache)
    more = {"source_train": 3, "train": 3, "external": 4}
    grown = replace(task, folder=tmp_path / "grown", counts=COUNTS | more)
    grown.prepare(cache)
    without = {split: count for split, count in COUNTS.items() if split != "validation"}
    smaller = replace(task, folder=tmp_path / "smaller", counts=without)
    smaller.prepare(cache)
    assert not smaller.has("validation")
    for other, splits in ((grown, COUNTS), (smaller, without)):
        for split in splits:
            pairs = zip(task.cases(split), other.cases(split), strict=False)
            assert all(a.image.equal(b.image) and a.labels.equal(b.labels) for a, b in pairs)


def test_a_second_prepare_cuts_nothing(task, cache):
    task.prepare(cache)
    before = _contents(Path(task.folder))
    assert task.prepare(cache) is False
    assert replace(task, normalisation=Normalisation((0.0, 50.0))).prepare(cache) is False  # applied when read
    assert _contents(Path(task.folder)) == before


@pytest.mark.parametrize(
    "change",
    [{"deformation": Deformation(noise=0.2)}, {"seed": 4}, {"counts": COUNTS | {"test": 1}}, {"size": (10, 12, 10)}],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_recipe_cuts_anew(task, cache, change):
    task.prepare(cache)
    changed = replace(task, **change)
    before = task.digest()
    assert changed.prepare(cache) is True
    assert changed.digest() != before
    assert changed.prepare(cache) is False


def test_the_recipe_does_not_depend_on_the_folder(task, tmp_path):
    assert replace(task, folder=tmp_path / "elsewhere").recipe() == task.recipe()


def test_cases_are_those_of_their_seed(task, cache, tmp_path):
    same = replace(task, folder=tmp_path / "same")
    task.prepare(cache)
    same.prepare(cache)
    assert same.digest() == task.digest()


def test_a_class_that_the_scan_lacks_is_named_and_the_old_cases_stay(task, cache):
    task.prepare(cache)
    before = _contents(Path(task.folder))
    wrong = replace(task, classes_from={"organ": [5, 6], "spleen": [9]})
    with pytest.raises(InputError, match=r"labels\.nii\.gz has no voxel of spleen \(label values \[9\]\)"):
        wrong.prepare(cache)
    assert _contents(Path(task.folder)) == before
    assert [path.name for path in Path(task.folder).parent.iterdir()] == ["Task01_Organ"]


def test_the_external_scan_has_the_same_classes_in_the_same_order(task, cache, tmp_path):
    both = {"left": [5], "right": [6]}
    turned = replace(task, classes_from=both, external_from=dict(reversed(both.items())))
    turned.prepare(cache)
    straight = replace(turned, external_from=both, folder=tmp_path / "straight")
    straight.prepare(cache)
    assert all(
        a.labels.equal(b.labels) for a, b in zip(turned.cases("external"), straight.cases("external"), strict=True)
    )
    with pytest.raises(InputError, match=r"external_from must name the classes of classes_from \['left', 'right'\]"):
        replace(turned, external_from={"left": [5]}).prepare(cache)


def test_other_code_cuts_anew(task, cache):
    assert task.prepare(cache, code="first") is True
    assert task.is_made(code="first")
    assert not task.is_made(code="second")
    assert task.prepare(cache, code="second") is True


def test_a_task_without_a_scan_is_refused(task, cache):
    with pytest.raises(InputError, match=r"task organ: `scan` must be set, got None"):
        replace(task, scan=None).prepare(cache)


@pytest.mark.bad_input
@pytest.mark.parametrize("content", [b"\xff\xfe", b"{", b"[]"])
def test_a_corrupt_dataset_json_is_named_and_kept(task, cache, content):
    """It may be somebody's own data, which must not be cut over."""
    task.prepare(cache)
    path = Path(task.folder) / "dataset.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"dataset\.json (must be a|as UTF-8) JSON"):
        task.prepare(cache)
    assert path.read_bytes() == content
