"""What `rank` shows: its own counts, whole names on a narrow terminal, a sentence in the place of an empty table."""

import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from tests.checkpoints import small_network, write_nnunet, write_weights

QUICK = ["metric=[ccfv,logme]", "draws_of_points=2"]
NAMES = ["Dataset219_AMOS2022_task1__ResEncL__3d_fullres", "Dataset219_AMOS2022_task2__ResEncL__3d_fullres"]


@pytest.fixture(scope="module")
def ball(prepared):
    return prepared / "synthetic" / "synthetic_ball"


@pytest.fixture
def rank(command_line, tmp_path):
    def run(task, source, *overrides):
        return command_line("rank", f"task={task}", f"source={source}", f"output_dir={tmp_path}/outputs",
                            f"tracking.uri=sqlite:///{tmp_path}/mlflow.db", *QUICK, *overrides)  # fmt: skip

    return run


def content(folder, task="synthetic_ball"):
    return json.loads((folder / "outputs" / "rank" / task / "ranking.json").read_text(encoding="utf-8"))


def test_the_number_of_cases_is_that_of_the_target(rank, ball, tmp_path):
    write_nnunet(tmp_path / "Dataset501_Made")  # which says that it was trained on 12 cases
    done = rank(ball, tmp_path / "Dataset501_Made")
    assert done.code == 0, done.err
    (path,) = (tmp_path / "outputs" / "rank" / "cache" / "outcomes").glob("*.json")
    facts = json.loads(path.read_text(encoding="utf-8"))["facts"]
    assert (facts["cases"], facts["source"]["cases"]) == (4, 12)
    assert facts["source"]["kind"] == "nnU-Net"
    assert content(tmp_path)["cases"] == 4
    assert "1 source by standing, 4 cases" in done.out


def test_a_narrow_terminal_shows_whole_names_and_a_sentence_for_two_sources(rank, ball, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for seed, name in enumerate(NAMES):
        write_weights(small_network("DynUNet", seed=seed), tmp_path / "pool" / f"{name}.pt")
    done = rank(ball, tmp_path / "pool")
    assert done.code == 0, done.err
    table = done.out[done.out.index("2 sources by") :]
    assert all(name in table for name in NAMES)
    assert "Agreement needs at least three scored sources; there are 2." in table.splitlines()
    assert max(len(line) for line in table.splitlines() if not line.startswith("ranking.html")) <= 80
    assert content(tmp_path)["agreement"]["ccfv"] == {"standing": None, "ccfv": None, "logme": None}
    page = (tmp_path / "outputs" / "rank" / "synthetic_ball" / "ranking.html").read_text(encoding="utf-8")
    assert page.count("<table>") == 2
    assert "<li>Agreement needs at least three scored sources; there are 2.</li>" in page


@pytest.fixture
def coloured(ball, tmp_path):
    """The task in colours: its image in each of three channels; a function of what dataset.json says of them."""
    folder = tmp_path / "coloured"
    shutil.copytree(ball, folder)
    listed = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
    for name in [path.name for path in (folder / "imagesTr").iterdir()]:
        stored = nib.load(folder / "imagesTr" / name)
        values = np.asarray(stored.dataobj)
        low, high = values.min(), values.max()
        colours = np.zeros(values.shape, [("R", "u1"), ("G", "u1"), ("B", "u1")])
        for colour in "RGB":
            colours[colour] = ((values - low) / (high - low) * 255).astype(np.uint8)
        nib.save(nib.Nifti1Image(colours, stored.affine), folder / "imagesTr" / name)

    def describe(modality):
        text = json.dumps({key: value for key, value in (listed | {"modality": modality}).items() if value})
        (folder / "dataset.json").write_text(text, encoding="utf-8")
        return folder

    return describe


@pytest.mark.parametrize("modality", [{"0": "R", "1": "G", "2": "B"}, None], ids=["stated", "not stated"])
def test_colours_are_three_channels(rank, coloured, tmp_path, modality):
    path = write_weights(small_network("DynUNet"), tmp_path / "gray.pt")
    done = rank(coloured(modality), path)
    assert done.code == 0, done.err
    assert "its one input sees the mean of the target's 3 channels" in content(tmp_path, "coloured")["notes"]["gray"]


@pytest.mark.bad_input
def test_colours_that_do_not_suit_are_told_in_one_line(rank, coloured, tmp_path):
    path = write_weights(small_network("DynUNet"), tmp_path / "gray.pt")
    done = rank(coloured({"0": "photo"}), path)
    assert done.code == 2
    assert "the case has 3 channels, but dataset.json states 1 (each colour" in done.err.splitlines()[-1]
    folder = coloured({"0": "R", "1": "G", "2": "B"})
    for name in [path.name for path in (folder / "labelsTr").iterdir()]:
        shutil.copy(folder / "imagesTr" / name, folder / "labelsTr" / name)
    done = rank(folder, path)
    assert done.code == 2
    line = done.err.splitlines()[-1]
    assert line.startswith(f"error: cannot use {folder}/labelsTr/")
    assert "as labels: it has 3 values per voxel (such as colours), expected 1 (the class)" in line
