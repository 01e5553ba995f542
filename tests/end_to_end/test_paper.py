"""The paper's protocol on folders in MSD's layout, made here and shrunk by overrides alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from monai.data import create_test_image_3d

from analysis.published import PUBLISHED
from benchmark.data.tasks.msd_layout import write_nifti
from benchmark.jobs.cli import CONF
from benchmark.orchestration.planner import Planner
from benchmark.sources.pretrained import PoolSource

# folder -> its classes, as MSD names them
FOLDERS = {
    "Task03_Liver": ["background", "liver", "cancer"],
    "Task06_Lung": ["background", "cancer"],
    "Task07_Pancreas": ["background", "pancreas", "cancer"],
    "Task09_Spleen": ["background", "spleen"],
    "Task10_Colon": ["background", "colon cancer primaries"],
}
SIZE = 32
SMALL = [
    "suite.unet.filters=[4,4,4,8,8]", "suite.unetr={width:4,hidden_size:12,mlp_dim:24,num_heads:2}",
    "suite.patch=[32,32,32]", "suite.steps={long:2,short:1}", "suite.tune_steps=2", "suite.plan=zscore",
    "~suite.targets.msd_liver", "~suite.targets.msd_lung", "~suite.targets.msd_pancreas", "~suite.targets.msd_colon",
    "suite.tasks=[msd_liver,msd_lung,msd_spleen]", "suite.seeds=[0,1]",
    "suite.sources=[msd_liver_unet_long,msd_liver_unetr_long,msd_lung_unet_short,msd_lung_unetr_short,msd_spleen_unet_long]",
]  # fmt: skip
POOL = ["msd_liver_unet_long", "msd_liver_unetr_long", "msd_lung_unet_short", "msd_lung_unetr_short"]


@pytest.fixture(scope="module")
def msd(tmp_path_factory) -> Path:
    """Five folders as MSD's archives hold them: labelled cases in `training`, paths alone in `test`."""
    root = tmp_path_factory.mktemp("paper") / "msd"
    for seed, (name, classes) in enumerate(FOLDERS.items()):
        random = np.random.RandomState(seed)
        for part in ("imagesTr", "labelsTr", "imagesTs"):
            (root / name / part).mkdir(parents=True)
        training = []
        for index in range(5):
            image, labels = create_test_image_3d(
                SIZE, SIZE, SIZE, num_objs=6, rad_max=7, rad_min=4, num_seg_classes=len(classes) - 1,
                random_state=random,
            )  # fmt: skip
            file = f"{name[7:].lower()}_{index:03d}.nii.gz"
            write_nifti((1000 * image - 500).astype(np.float32), root / name / "imagesTr" / file, spacing=2.0)
            write_nifti(labels.astype(np.uint8), root / name / "labelsTr" / file, spacing=2.0)
            training.append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
        description = {
            "name": name[7:], "modality": {"0": "CT"}, "labels": {str(i): one for i, one in enumerate(classes)},
            "training": training, "test": ["./imagesTs/none_000.nii.gz"], "numTraining": 5, "numTest": 1,
        }  # fmt: skip
        (root / name / "dataset.json").write_text(json.dumps(description), encoding="utf-8")
    return root


@pytest.fixture(scope="module")
def paper(compose_command):
    return compose_command("bench", "experiment=paper").suite


def test_the_five_tasks_each_with_the_other_four(paper, msd):
    assert list(paper.targets.values()) == list(FOLDERS)
    assert list(paper.targets) == list(paper.tasks)
    overrides = ["experiment=paper", f"suite.msd={msd}"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        pools = Planner(paper, {"pretrain": overrides, "truth": overrides}).pools
    for target, sources in pools.items():
        assert sources == [name for name in paper.sources if not name.startswith(f"{target}_")]
        assert len(sources) == 16
        assert {name.split("_")[1] for name in sources} == {"liver", "lung", "pancreas", "spleen", "colon"} - {
            target.removeprefix("msd_")
        }


@pytest.mark.parametrize("arch", ["unet", "unetr"])
def test_sources_are_u_net_and_unetr_with_three_layers_tapped(compose_command, arch):
    source = instantiate(compose_command("pretrain", "experiment=paper", f"source=msd_colon_{arch}_long").source)
    assert isinstance(source, PoolSource)
    assert source.budget.patch == source.window == [96, 96, 96]
    assert source.budget.steps == 50000
    assert len(source.arch.taps) == 3
    bare = source.arch.bare(channels=1, classes=2)
    assert type(bare).__name__ == {"unet": "DynUNet", "unetr": "UNETR"}[arch]
    assert set(source.arch.taps) <= set(dict(bare.named_modules()))


def test_all_weights_are_tuned_and_ccfv_is_the_paper_s(compose_command):
    truth = compose_command("truth", "experiment=paper")
    assert (truth.trainer.tune, list(truth.trainer.window)) == ("all", [96, 96, 96])
    assert list(truth.trainer.budget.patch) == [96, 96, 96]
    score = compose_command("score", "experiment=paper", "target=msd_colon")
    assert list(score.stream.window) == [96, 96, 96]
    assert list(score.metric.ccfv.counts) == [100, 200, 400]
    assert score.target.plan.kind == "nnunet"
    assert set(PUBLISHED) <= set(score.metric)  # whose published figures stand beside ours


def test_the_ablation_changes_metrics_alone(compose_command):
    plain, taken = (compose_command("score", f"experiment={name}") for name in ("paper", "paper_ablation"))
    assert {key: value for key, value in plain.items() if key != "metric"} == {
        key: value for key, value in taken.items() if key != "metric"
    }
    ours = {name: instantiate(node) for name, node in taken.metric.items() if name.startswith("ccfv_")}
    variants = {name: metric for name, metric in ours.items() if name != "ccfv_released"}
    assert len(variants) == 12
    settings = {name: {key: value for key, value in vars(metric).items() if key != "_samples"}
                for name, metric in (variants | {"ccfv": instantiate(plain.metric.ccfv)}).items()}  # fmt: skip
    distinct = {json.dumps(values, sort_keys=True, default=list) for values in settings.values()}
    assert len(distinct) == 13


@pytest.mark.slow
def test_it_runs_shrunk_by_overrides_alone(place, msd, python_m):
    """One target's stages on tiny volumes: prepare, pretrain, truth, score with the ablation, correlate."""
    shutil.copytree(msd, place.folder / "data" / "msd")
    small = ",".join(f"'{one}'" for one in SMALL)
    done = python_m("benchmark.bench", "experiment=paper_ablation", "hydra/launcher=basic", *SMALL,
                    f"overrides.all=[{small}]", "overrides.correlate=['resamples=50']", *place.overrides)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    scores = place.store("paper").finished("score").values()
    assert sorted(row.params["source"] for row in scores) == sorted(POOL)
    for row in scores:
        assert np.isfinite(row.metrics["ccfv"])
        both, one, other = (row.metrics[name] for name in ("ccfv", "ccfv_consistency", "ccfv_variety"))
        assert both == pytest.approx(one + other)
    assert len(place.store("paper").finished("truth")) == len(POOL) * 2
    assert ".70, .50" in done.stdout  # the paper's CC-FV, beside ours
