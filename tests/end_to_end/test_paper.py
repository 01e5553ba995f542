"""The paper's protocol on folders in MSD's layout, made here and shrunk by overrides alone."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate
from monai.data import create_test_image_3d

from analysis.published import PUBLISHED
from analysis.tables.protocol import protocol_markdown
from benchmark.data.tasks.msd_layout import write_nifti
from benchmark.jobs.cli import CONF, resolved
from benchmark.orchestration.planner import Planner
from benchmark.sources.networks.skeleton import skeleton
from tests.quick_nnunet import quick_nnunet

# folder -> its classes, as MSD names them
FOLDERS = {
    "Task03_Liver": ["background", "liver", "cancer"],
    "Task06_Lung": ["background", "cancer"],
    "Task07_Pancreas": ["background", "pancreas", "cancer"],
    "Task09_Spleen": ["background", "spleen"],
    "Task10_Colon": ["background", "colon cancer primaries"],
}
TASKS = ["liver", "lung", "pancreas", "spleen", "colon"]
SIZE = 32
SMALL = [
    "suite.unet.width=4", "suite.unetr={width:4,hidden_size:12,mlp_dim:24,num_heads:2}", "suite.patch=[32,32,32]",
    "suite.steps={pretraining:4,fine_tuning:2}", "suite.iterations=2",
    "trainer.mirroring=false", "suite.pretrainer.trainer.mirroring=false",
    "trainer.processes=1", "suite.pretrainer.trainer.processes=1",
    "~suite.targets.msd_liver", "~suite.targets.msd_lung", "~suite.targets.msd_pancreas", "~suite.targets.msd_colon",
    "suite.tasks=[msd_liver,msd_spleen]",
    "suite.sources=[msd_liver_unetr,msd_scratch_unet]",
]  # fmt: skip
POOL = ["msd_liver_unetr", "msd_scratch_unet"]
ROWS = ["variety", "consistency", "single_scale", "kl", "bhattacharyya", "proportional", "sum"]
NNUNET = "benchmark.training.nnunet.trainer.NnunetTrainer"


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


def test_the_pool_of_a_target_is_both_networks_from_the_other_four_tasks_and_from_scratch(paper, msd):
    assert list(paper.targets.values()) == list(FOLDERS)
    assert list(paper.targets) == list(paper.tasks) == [f"msd_{task}" for task in TASKS]
    overrides = ["experiment=paper", f"suite.msd={msd}"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        pools = Planner(paper, {"pretrain": overrides, "truth": overrides}).pools
    for target, sources in pools.items():
        others = [task for task in [*TASKS, "scratch"] if f"msd_{task}" != target]
        assert sorted(sources) == sorted(f"msd_{task}_{arch}" for task in others for arch in ("unet", "unetr"))
        assert len(sources) == 10


@pytest.mark.parametrize(
    ("arch", "kind", "millions", "taps"),
    [
        ("unet", "PlainConvUNet", 22.4, ["decoder.stages.0", "decoder.stages.1", "decoder.stages.2"]),
        ("unetr", "UNETR", 115.4, ["decoder4", "decoder3", "decoder2"]),
    ],
)
def test_the_networks_are_those_of_the_released_configuration(compose_command, arch, kind, millions, taps):
    source = instantiate(compose_command("pretrain", "experiment=paper", f"source=msd_colon_{arch}").source)
    network = skeleton(source.arch.network, channels=1, classes=3)
    assert type(network).__name__ == kind
    assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == millions
    assert list(source.arch.taps) == taps
    assert (source.budget.steps, source.budget.batch, source.channels) == (250_000, 2, 1)
    assert list(source.budget.patch) == [64, 144, 112]
    assert source.arch.fit(source.budget.patch) == (64, 144, 112)
    assert source.trainer.trainer.budget.iterations * source.trainer.trainer.budget.epochs == 250_000
    assert source.trainer.trainer.mirroring
    assert source.task.name == "msd_colon"
    scratch = instantiate(compose_command("pretrain", "experiment=paper", f"source=msd_scratch_{arch}").source)
    assert (scratch.task, scratch.budget.steps) == (None, 0)
    assert (scratch.arch.name, scratch.arch.width) == (source.arch.name, source.arch.width)


def test_the_u_net_has_four_stages_and_the_unetr_a_vit_of_twelve_layers(compose_command):
    unet, unetr = (
        skeleton(instantiate(compose_command("pretrain", "experiment=paper", f"source=msd_colon_{arch}").source)
                 .arch.network, channels=1, classes=3)
        for arch in ("unet", "unetr")
    )  # fmt: skip
    assert list(unet.encoder.output_channels) == [64, 128, 256, 512]
    assert [stride[0] for stride in unet.encoder.strides] == [1, 2, 2, 2]
    assert {module.kernel_size for module in unet.encoder.modules() if isinstance(module, torch.nn.Conv3d)} == {
        (3,) * 3
    }
    assert [len(stage.convs) for stage in unet.decoder.stages] == [2, 2, 2]
    norms = [module for module in unet.modules() if isinstance(module, torch.nn.InstanceNorm3d)]
    assert norms
    assert all(norm.affine for norm in norms)
    assert {module.negative_slope for module in unet.modules() if isinstance(module, torch.nn.LeakyReLU)} == {0.01}
    assert {type(module) for module in unet.decoder.transpconvs} == {torch.nn.ConvTranspose3d}
    assert len(unet.decoder.seg_layers) == 3
    assert (len(unetr.vit.blocks), unetr.patch_size, unetr.vit.norm.normalized_shape) == (12, (16, 16, 16), (768,))
    assert unetr.decoder2.conv_block.conv1.conv.out_channels == 48


def test_nnunet_tunes_all_weights_and_estimates_read_training_cases(compose_command):
    truth = compose_command("truth", "experiment=paper", "target=msd_colon")
    assert (truth.trainer._target_, truth.trainer.tune, list(truth.seeds)) == (NNUNET, "all", [0])
    assert truth.trainer.budget.epochs * truth.trainer.budget.iterations == 100_000
    assert (list(truth.trainer.budget.patch), truth.trainer.budget.batch) == ([64, 144, 112], 2)
    assert (truth.target.plan.kind, truth.target.test_share) == ("nnunet", 0.2)
    assert dict(truth.preparation) == {"intensities": "target", "spacing": "target"}
    score = compose_command("score", "experiment=paper", "target=msd_colon")
    assert (list(score.stream.window), score.stream.overlap, score.stream.windows) == ([64, 144, 112], 0, "all")
    assert score.stream.cases is None
    assert list(score.metric.ccfv.counts) == [100, 200, 400]
    assert {score.metric[name].layer for name in ("logme", "transrate", "gbc")} == {-1}
    assert set(PUBLISHED) <= set(score.metric)  # whose published figures stand beside ours


def test_monai_is_a_named_departure(compose_command):
    facts = {
        name: protocol_markdown(
            resolved(compose_command("correlate", "experiment=paper", *overrides).suite)["protocol"]
        )
        for name, overrides in {"plain": (), "monai": ("trainer=monai", "suite.pretrainer=null")}.items()
    }
    assert "fine-tuning by benchmark.training.monai.MonaiTrainer" in facts["monai"]
    assert "5 of 31 facts depart" in facts["plain"]
    assert "6 of 31 facts depart" in facts["monai"]  # it does not mirror at prediction
    assert "MonaiTrainer" not in facts["plain"]
    truth = compose_command("truth", "experiment=paper", "trainer=monai")
    assert (truth.trainer.budget.steps, list(truth.trainer.budget.patch)) == (100_000, [64, 144, 112])


def test_the_ablation_changes_metrics_alone(compose_command):
    plain, taken = (compose_command("score", f"experiment={name}") for name in ("paper", "paper_ablation"))
    assert {key: value for key, value in plain.items() if key != "metric"} == {
        key: value for key, value in taken.items() if key != "metric"
    }
    assert {f"ccfv_{row}" for row in ROWS} <= set(taken.metric)


@pytest.mark.slow
@pytest.mark.nnunet
def test_it_runs_shrunk_by_overrides_alone(place, msd, command_line):
    """One target's stages on tiny volumes: prepare, pretrain, truth, score with the ablation, correlate."""
    shutil.copytree(msd, place.folder / "data" / "msd")
    with quick_nnunet():
        done = command_line("bench", "experiment=paper_ablation", "hydra/launcher=basic", *SMALL,
                            "overrides.score=['metric=[ccfv]']",
                            "overrides.correlate=['resamples=50','metric=[ccfv]']", *place.overrides)  # fmt: skip
    assert done.code == 0, done.out + done.err
    scores = place.store("paper").finished("score").values()
    assert sorted(row.params["source"] for row in scores) == sorted(POOL)
    for row in scores:
        rows = [row.metrics[f"ccfv_{name}"] for name in ROWS]
        assert np.isfinite([row.metrics["ccfv"], *rows]).all()
        assert row.metrics["ccfv"] == pytest.approx(row.metrics["ccfv_consistency"] + row.metrics["ccfv_variety"])
    truths = place.store("paper").finished("truth").values()
    assert sorted(row.params["source"] for row in truths) == sorted(POOL)
    assert {row.params["trainer.amp"] for row in truths} == {"float32"}
    trained = {row.params["source"]: row for row in place.store("paper").finished("pretrain").values()}
    assert {name: row.metrics["cases"] for name, row in trained.items()} == {
        name: 0 if "scratch" in name else 4 for name in POOL
    }
    assert np.isfinite(trained["msd_liver_unetr"].metrics["dice"])
    assert "0.5700" in done.out  # the paper's CC-FV on Spleen, beside ours
    assert "add seeds with suite.seeds" in " ".join(done.out.split())
