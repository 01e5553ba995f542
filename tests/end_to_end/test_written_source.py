"""A fine-tuned network as it is handed over: `inspect` shows it and `rank` scores it, in both formats."""

import json
from dataclasses import replace

import pytest
from hydra.utils import instantiate

from benchmark.data.preprocessing.normalise import ChannelSchemes, Scheme
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.sources.readers.recognise import recognise
from benchmark.sources.writers.nnunet import write_results_folder
from benchmark.sources.writers.own_format import write_source
from tests.checkpoints import write_nnunet

CT = ChannelSchemes((Scheme("CTNormalization", mean=3.0, std=20.0, low=-50.0, high=80.0),))
LABELS = {0: "background", 1: "spleen", 2: "left kidney"}
SHOWN = (
    "nnunet_plainconvunet, 3D",
    "3: 0 background, 1 spleen, 2 left kidney",
    "40 x 32 x 32 voxels",
    "spacing 1.5 x 0.9 x 1.2 mm; CTNormalization",
)


@pytest.fixture(scope="module")
def handed_over(tmp_path_factory):
    """A folder with a model in both formats, each in a folder of its own."""
    folder = tmp_path_factory.mktemp("handed_over")
    model = instantiate(recognise(write_nnunet(folder / "before" / "Dataset501_Made"))).open()
    network = model.arch.build(channels=1, classes=len(LABELS), seed=11)
    preparation = Preparation(CT, spacing=(1.5, 0.9, 1.2), transpose=(1, 0, 2), crop=True)
    facts = {"fine_tuned_from": "Dataset501_Made", "validation_dice": 0.75}
    tuned = replace(
        model, name="winner", weights=network.state_dict(), classes=len(LABELS), labels=LABELS,
        preparation=preparation, patch=(40, 32, 32), facts=facts, notes=("fine-tuned on organs",),
    )  # fmt: skip
    write_source(tuned, folder / "pool" / "checkpoint")
    write_results_folder(tuned, folder / "pool" / "Dataset001_Winner", cases=12)
    return folder / "pool"


@pytest.mark.parametrize("format_", ["checkpoint", "Dataset001_Winner"])
def test_inspect_shows_what_was_handed_over(format_, handed_over, command_line, tmp_path):
    done = command_line("inspect", f"path={handed_over / format_}", f"output_dir={tmp_path}/outputs")
    assert done.code == 0, done.err
    text = " ".join(done.out.replace("│", " ").split())
    assert [part for part in SHOWN if part not in text] == []
    own = ("fine tuned from Dataset501_Made", "validation dice 0.75", "- fine-tuned on organs")
    assert all((part in text) == (format_ == "checkpoint") for part in own)


def test_rank_scores_what_was_handed_over(handed_over, prepared, command_line, tmp_path):
    done = command_line(
        "rank", f"task={prepared / 'synthetic' / 'synthetic_ball'}", f"source={handed_over}", "metric=[logme]",
        "draws=2", "draws_of_points=1", "stream.cases=2", f"output_dir={tmp_path}/outputs",
        f"tracking.uri=sqlite:///{tmp_path}/mlflow.db",
    )  # fmt: skip
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "outputs/rank/synthetic_ball/ranking.json").read_text(encoding="utf-8"))
    scores = {row["source"]: row["logme"] for row in result["ranking"]}
    assert set(scores) == {"checkpoint", "Dataset001_Winner__3d_fullres"}
    first, second = scores.values()
    assert first == pytest.approx(second, abs=1e-6), "one network, prepared alike"
