"""Checkpoints in the layouts that people have: how each is written, and what its owner reads.

The table in docs/how-to/own-checkpoints.md lists them. Networks are as small as their class allows.
"""

import json
import shutil
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from monai.networks import nets
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmark.sources.model import Model
from benchmark.sources.networks.batch_statistics_unet import UNet3D
from benchmark.sources.networks.mednext import MedNeXtV1
from benchmark.sources.networks.stunet import STUNet
from tests.checkpoints import SMALL, plans, plans_network, small_network, write_bundle, write_file, write_nnunet

Network = nn.Module | None
WORKS, WITH_YAML, NOT_READ = "works", "works with a yaml", "not read"
FINAL = "fold_0/checkpoint_final.pth"
SIDE = 16  # voxels of a small volume, where its network accepts them
TRAINING = {"epoch": 3, "optimizer": {"state": {}, "param_groups": []}}


@dataclass(frozen=True)
class Layout:
    """A layout.

    Attributes:
        title: What the owner has.
        write: Writes it into a folder and returns the network that it must compute like; None if it is not read.
        says: A part of the notes or of the line that refuses it, as the docs quote it.
        result: `WORKS`, `WITH_YAML` or `NOT_READ`.
        path: What is named, below the folder; empty: the folder.
        head: Whether predictions can be compared; otherwise the features of the finest tap are.
    """

    title: str
    write: Callable[[Path], Network]
    says: str = ""
    result: str = WORKS
    path: str = ""
    head: bool = True


def small_image(model: Model) -> Tensor:
    """Noise of few voxels, with more than one at the bottleneck for instance norm."""
    arch = model.arch
    steps = [arch.divisor] * arch.dims if isinstance(arch.divisor, int) else list(arch.divisor)
    sides = [-(-SIDE // step) * step for step in steps]
    if sides == steps:
        sides[0] *= 2
    shape = arch.size or sides
    depth = (1,) * (3 - arch.dims)  # a slice of a 2D network
    return torch.randn(1, model.channels, *depth, *shape, generator=torch.Generator().manual_seed(0))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """A network in eval mode whose weights are drawn from one seed, norms included."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = make().eval()
        for tensor in network.parameters():
            if tensor.ndim == 1:
                tensor.data += 0.1 * torch.randn_like(tensor)
    return network


def saved(path: Path, network: nn.Module, *, prefix: str = "", wrapper: str = "", extras: Mapping[str, Tensor] = {},
          others: Mapping[str, object] = {}, without: str = "none") -> nn.Module:  # fmt: skip
    """Save a network's state dict in a public form, and return the network."""
    weights = {
        f"{prefix}{name}": tensor for name, tensor in network.state_dict().items() if not name.startswith(without)
    }
    content = weights | dict(extras)
    torch.save({**others, wrapper: content} if wrapper else content, path)
    return network


# --- nnU-Net ---


def results(folder: Path, **settings: object) -> nn.Module:
    place = write_nnunet(folder / "Dataset501_Made", **settings)
    return plans_network(json.loads((place / "plans.json").read_text(encoding="utf-8")))


def results_place(folder: Path) -> Path:
    return next(folder.glob("Dataset*/*__*__*"))


def unfinished(folder: Path) -> nn.Module:
    network = results(folder)
    (results_place(folder) / FINAL).rename(results_place(folder) / "fold_0" / "checkpoint_latest.pth")
    return network


def lone(folder: Path) -> nn.Module:
    network = results(folder)
    shutil.move(results_place(folder) / FINAL, folder / "totalseg_291.pth")
    shutil.rmtree(folder / "Dataset501_Made")
    return network


def without_plans(folder: Path) -> nn.Module:
    network = results(folder)
    (results_place(folder) / "plans.json").unlink()
    return network


def retrained(folder: Path, trainer: str, network: nn.Module) -> nn.Module:
    results(folder)
    path = results_place(folder) / FINAL
    content = torch.load(path, weights_only=False) | {"trainer_name": trainer, "network_weights": network.state_dict()}
    torch.save(content, path)
    return network


def stunet() -> nn.Module:
    return seeded(lambda: STUNet(1, 3, widths=[4, 4, 8], blocks=[1, 1, 1], strides=[[2, 2, 2]] * 2))


def six_stage_stunet() -> nn.Module:
    return seeded(lambda: STUNet(1, 3, widths=[4] * 6, blocks=[1] * 6, strides=[[2, 2, 2]] * 4 + [[1, 1, 2]]))


def version_1(folder: Path, network: nn.Module) -> nn.Module:
    place = folder / "Task101_A" / "nnUNetTrainerV2__nnUNetPlansv2.1" / "fold_0"
    place.mkdir(parents=True)
    others = {"epoch": 3, "optimizer_state_dict": None, "plot_stuff": ([], []), "best_stuff": (0.5,)}
    saved(place / "model_final_checkpoint.model", network, wrapper="state_dict", others=others)
    (place / "model_final_checkpoint.model.pkl").write_bytes(b"\x80\x02}q\x00.")
    return network


def version_1_of_nnunet(folder: Path) -> None:
    class Generic(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv_blocks_context = nn.ModuleList([nn.Sequential(nn.Conv3d(1, 4, 3))])
            self.tu = nn.ModuleList([nn.ConvTranspose3d(4, 4, 2)])

    version_1(folder, Generic())


def exported(folder: Path) -> None:
    results(folder)
    with zipfile.ZipFile(folder / "export_501.zip", "w") as archive:
        for path in sorted((folder / "Dataset501_Made").rglob("*")):
            archive.write(path, path.relative_to(folder))
    shutil.rmtree(folder / "Dataset501_Made")


def weights_of_nnunet(folder: Path) -> None:
    results(folder)
    content = torch.load(results_place(folder) / FINAL, weights_only=False)
    torch.save(content["network_weights"], folder / "weights.pth")
    shutil.rmtree(folder / "Dataset501_Made")


def cascade(folder: Path) -> None:
    content = plans()
    content["configurations"]["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    place = write_nnunet(folder / "Dataset501_Made")
    whole = place.with_name("nnUNetTrainer__nnUNetPlans__3d_cascade_fullres")
    place.rename(whole)
    (whole / "plans.json").write_text(json.dumps(content), encoding="utf-8")
    file = torch.load(whole / FINAL, weights_only=False)
    file["init_args"] |= {"plans": content, "configuration": "3d_cascade_fullres"}
    torch.save(file, whole / FINAL)


# --- MONAI, public families ---


def monai(name: str, suffix: str = ".pt") -> Callable[[Path], nn.Module]:
    def write(folder: Path) -> nn.Module:
        network = small_network(name)
        if suffix == ".safetensors":
            save_file({key: tensor.clone().contiguous() for key, tensor in network.state_dict().items()},
                      folder / f"{name.lower()}{suffix}")  # fmt: skip
            return network
        return saved(folder / f"{name.lower()}{suffix}", network)

    return write


def other_monai(name: str, **settings: object) -> Callable[[Path], nn.Module]:
    def write(folder: Path) -> nn.Module:
        network = seeded(lambda: getattr(nets, name)(in_channels=1, out_channels=3, **settings))
        return saved(folder / f"{name.lower()}.pth", network, prefix="module.", wrapper="model")

    return write


def old_unetr(folder: Path) -> nn.Module:
    network = small_network("UNETR")
    weights = {name: tensor for name, tensor in network.state_dict().items() if "norm_cross_attn" not in name}
    torch.save(weights, folder / "unetr.pt")
    return network


SUPREM = {"organ_embedding": torch.ones(32, 512), "controller.weight": torch.ones(153, 512, 1, 1, 1)}


def suprem_unet(folder: Path) -> nn.Module:
    extras = {f"module.{name}": tensor for name, tensor in SUPREM.items()}
    network = seeded(lambda: UNet3D(1, 1))
    return saved(folder / "supervised_suprem_unet_2100.pth", network, prefix="module.backbone.", wrapper="net",
                 extras=extras, others=TRAINING, without="out_tr.")  # fmt: skip


def genesis(folder: Path) -> nn.Module:
    network = seeded(lambda: UNet3D(1, 1))
    return saved(folder / "Genesis_Chest_CT.pt", network, prefix="module.", wrapper="state_dict",
                 others={"epoch": 620, "optimizer_state_dict": {}})  # fmt: skip


def suprem_segresnet(folder: Path) -> nn.Module:
    network = seeded(lambda: nets.SegResNet(init_filters=16, blocks_down=(1, 2, 2, 4), out_channels=25))
    return saved(folder / "supervised_suprem_segresnet_2100.pth", network, prefix="module.", wrapper="net",
                 others=TRAINING)  # fmt: skip


def early_swin() -> nn.Module:
    from benchmark.sources.weights.swin_merging import EarlyPatchMerging

    return seeded(lambda: nets.SwinUNETR(in_channels=1, out_channels=3, downsample=EarlyPatchMerging,
                                         **SMALL["SwinUNETR"]))  # fmt: skip


def suprem_swin(folder: Path) -> nn.Module:
    extras = {f"module.{name}": tensor for name, tensor in SUPREM.items()}
    return saved(folder / "supervised_suprem_swinunetr_2100.pth", early_swin(), prefix="module.backbone.",
                 wrapper="net", extras=extras, others=TRAINING, without="out.")  # fmt: skip


def mednext(folder: Path) -> nn.Module:
    from tests.benchmark.sources.weights.test_public_networks import mednext as built
    from tests.benchmark.sources.weights.test_public_networks import names_of_mic_dkfz

    network: MedNeXtV1 = seeded(lambda: built("B", init_filters=4, out_channels=3))
    torch.save({"state_dict": names_of_mic_dkfz(network.state_dict()), "epoch": 1000}, folder / "mednext_b.pth")
    return network


def nnssl(folder: Path, *, decoder: bool) -> nn.Module:
    from tests.benchmark.sources.readers.test_nnssl import narrow, save

    network, plan = narrow()
    weights = {name: value for name, value in network.state_dict().items() if decoder or name.startswith("encoder.")}
    save(folder / "checkpoint_final.pth", weights, plan, trainer="BaseMAETrainer" if decoder else "SimCLRTrainer")
    return network


# --- objects, wrappers and formats ---


class Scheduler:
    """An object next to the weights, of a class that a reader does not have."""

    def __init__(self) -> None:
        self.step = 3


def lightning(folder: Path) -> nn.Module:
    others = {"hyper_parameters": OmegaConf.create({"lr": 1e-3, "channels": [4, 8]}), "loops": {},
              "callbacks": {"best": Path("a.ckpt")}, "seen": np.float64(0.5)}  # fmt: skip
    return saved(folder / "epoch=3-step=20.ckpt", small_network("DynUNet"), prefix="net.", wrapper="state_dict",
                 others=others)  # fmt: skip


def ema(folder: Path) -> nn.Module:
    network = small_network("UNet")
    average = {name: tensor * 2 for name, tensor in network.state_dict().items()}
    return saved(folder / "best.pth", network, wrapper="state_dict", others={"state_dict_ema": average})


def ema_on_request(folder: Path) -> nn.Module:
    network = ema(folder)
    (folder / "best.yaml").write_text("ema: true\n", encoding="utf-8")
    network.load_state_dict({name: tensor * 2 for name, tensor in network.state_dict().items()})
    return network


def half(folder: Path) -> nn.Module:
    network = small_network("SegResNet").half().float()
    torch.save({f"_orig_mod.module.{name}": tensor.half() for name, tensor in network.state_dict().items()},
               folder / "half.pt")  # fmt: skip
    return network


def whole_module(folder: Path) -> nn.Module:
    network = small_network("UNet")
    torch.save({"model": network, "scheduler": Scheduler()}, folder / "whole.pt")
    return network


def sharded(folder: Path) -> nn.Module:
    network = small_network("DynUNet")
    weights = {name: tensor.clone().contiguous() for name, tensor in network.state_dict().items()}
    names = sorted(weights)
    halves = {f"model-0000{at + 1}-of-00002.safetensors": names[at::2] for at in range(2)}
    for file, part in halves.items():
        save_file({name: weights[name] for name in part}, folder / file)
    weight_map = {name: file for file, part in halves.items() for name in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    return network


def bundle(folder: Path) -> nn.Module:
    write_bundle(folder / "spleen")
    return small_network("UNet")


def old_bundle(folder: Path) -> nn.Module:
    path = write_bundle(folder / "swin", name="SwinUNETR") / "configs" / "train.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    content["network_def"]["img_size"] = [64, 64, 64]
    path.write_text(json.dumps(content), encoding="utf-8")
    return small_network("SwinUNETR")


def own(folder: Path) -> nn.Module:
    write_file(folder / "mine")
    return small_network("DynUNet", classes=2)


# --- with a yaml ---


def two_networks(folder: Path) -> nn.Module:
    teacher, student = small_network("UNet", seed=1), small_network("UNet", seed=2)
    weights = {f"teacher.{name}": tensor for name, tensor in teacher.state_dict().items()}
    saved(folder / "distilled.pt", student, prefix="student.", extras=weights)
    (folder / "distilled.yaml").write_text("prefix: teacher.\n", encoding="utf-8")
    return teacher


def other_strides(folder: Path) -> nn.Module:
    network = seeded(lambda: nets.UNet(spatial_dims=3, in_channels=1, out_channels=3, channels=(4, 8, 16),
                                       strides=(1, 2)))  # fmt: skip
    saved(folder / "unet.pt", network)
    (folder / "sources.yaml").write_text("unet.pt:\n  settings: {strides: [1, 2]}\n", encoding="utf-8")
    return network


def early_merging(folder: Path) -> nn.Module:
    network = saved(folder / "swin.pt", early_swin())
    (folder / "swin.yaml").write_text("settings: {merging: monai_1.4}\n", encoding="utf-8")
    return network


def named_network(folder: Path) -> nn.Module:
    settings = {"spatial_dims": 3, "channels": [4, 8, 16], "strides": [2, 2], "num_res_units": 1}
    network = saved(folder / "mine.pt", seeded(lambda: nets.UNet(in_channels=1, out_channels=3, **settings)),
                    extras={"projector.weight": torch.ones(2, 2)})  # fmt: skip
    text = f"network: UNet\nsettings: {json.dumps(settings)}\nlabels: {{0: background, 1: liver, 2: tumour}}\n"
    (folder / "mine.yaml").write_text(text, encoding="utf-8")
    return network


# --- not read ---


def torchscript(folder: Path) -> None:
    torch.jit.trace(small_network("UNet"), torch.zeros(1, 1, 32, 32, 32)).save(folder / "model.pt")


def onnx(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"\x08\x08")


def named(folder: Path, *names: str) -> None:
    torch.save({name: torch.ones(2, 1, 3, 3, 3) for name in names}, folder / "model.pth")


def quantised(folder: Path) -> None:
    weights = small_network("UNet").state_dict()
    torch.save({name: tensor.char() if tensor.ndim > 1 else tensor for name, tensor in weights.items()},
               folder / "int8.pt")  # fmt: skip


def logged_model(folder: Path) -> None:
    place = folder / "logged"
    (place / "data").mkdir(parents=True)
    (place / "MLmodel").write_text("flavors: {pytorch: {model_data: data}}\n", encoding="utf-8")
    torch.save(small_network("UNet"), place / "data" / "model.pth")


def mine(folder: Path) -> None:
    network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv3d(4, 3, 1))
    saved(folder / "mine.pt", network)


LAYOUTS = [
    Layout("nnU-Net v2: a results folder", results, "fold_0, checkpoint_final.pth"),
    Layout("nnU-Net v2: a 2D configuration with residual encoder",
           partial(results, dims=2, cls="ResidualEncoderUNet"), "fold_0, checkpoint_final.pth"),
    Layout("nnU-Net v2: only `checkpoint_latest.pth`", unfinished, "the training may be unfinished"),
    Layout("nnU-Net v2: a single `.pth` of any name (TotalSegmentator's)", lone,
           "plans.json and dataset.json as in the checkpoint's own init_args"),
    Layout("nnU-Net v2: a results folder without plans.json", without_plans,
           "plans.json as in the checkpoint's own init_args"),
    Layout("nnU-Net v2: STU-Net's trainer", lambda folder: retrained(folder, "STUNetTrainer_small_ft", stunet()),
           "its network is not that of plans.json"),
    Layout("nnU-Net v1: STU-Net's `.model`", lambda folder: version_1(folder, six_stage_stunet()),
           "recognised as STUNet"),
    *(Layout(f"MONAI {name}", monai(name, suffix), f"recognised as {name}") for name, suffix in (
        ("DynUNet", ".pt"), ("UNet", ".safetensors"), ("UNETR", ".bin"), ("SwinUNETR", ".pt"), ("SegResNet", ".pt"),
        ("BasicUNet", ".pt"), ("VNet", ".pth"))),
    Layout("MONAI UNETR before 1.4", old_unetr, "missing, but never called by the network"),
    Layout("MONAI SegResNetDS", other_monai("SegResNetDS", init_filters=8, blocks_down=[1, 2, 2], norm="batch"),
           "recognised as SegResNetDS"),
    Layout("MONAI MedNeXt", other_monai("MedNeXt", init_filters=4, blocks_down=[1, 1], blocks_up=[1, 1],
           encoder_expansion_ratio=[2, 2], decoder_expansion_ratio=[2, 2], blocks_bottleneck=1),
           "recognised as MedNeXt"),
    Layout("MONAI AttentionUnet", other_monai("AttentionUnet", spatial_dims=3, channels=[4, 8, 16], strides=[2, 2]),
           "recognised as AttentionUnet"),
    Layout("MONAI BasicUNetPlusPlus", other_monai("BasicUNetPlusPlus", features=[4, 4, 8, 8, 16, 4]),
           "recognised as BasicUNetPlusPlus"),
    Layout("MONAI FlexibleUNet", other_monai("FlexibleUNet", backbone="resnet10", spatial_dims=3,
           decoder_channels=[16, 8, 8, 4, 4]), "recognised as FlexibleUNet"),
    Layout("SuPreM: U-Net", suprem_unet, "normalises with the statistics of its input", head=False),
    Layout("SuPreM: SegResNet", suprem_segresnet, "recognised as SegResNet"),
    Layout("SuPreM: Swin UNETR", suprem_swin, "merging = monai_1.4", head=False),
    Layout("Models Genesis: U-Net", genesis, "a head with one output restores the image", head=False),
    Layout("MIC-DKFZ: MedNeXt", mednext, "recognised as MedNeXtV1"),
    Layout("OpenMind / nnssl: residual U-Net", partial(nnssl, decoder=True), "no segmentation head", head=False),
    Layout("OpenMind / nnssl: an encoder without decoder", partial(nnssl, decoder=False),
           "the features are those of the encoder's 3 finest stages", head=False),
    Layout("Lightning `.ckpt` with hyper-parameters of OmegaConf", lightning, "objects of omegaconf"),
    Layout("weights and their EMA", ema, "the EMA weights under 'state_dict_ema' are not used"),
    Layout("float16 weights of a compiled, parallel network", half, "is taken off the names"),
    Layout("`torch.save(model)`, with a scheduler", whole_module, "its code is not run"),
    Layout("sharded safetensors of Hugging Face", sharded, "recognised as DynUNet"),
    Layout("a MONAI bundle", bundle, ""),
    Layout("a MONAI bundle of an older version (`img_size`)", old_bundle, "is used as its patch"),
    Layout("a folder that this project saved", own, ""),
    Layout("two networks in one file", two_networks, "given by distilled.yaml: prefix", WITH_YAML),
    Layout("strides that no tensor shows", other_strides, "given by sources.yaml: unet.pt", WITH_YAML),
    Layout("Swin UNETR trained with MONAI up to 1.4", early_merging, "given by swin.yaml", WITH_YAML),
    Layout("a part of a larger network", named_network, "given by mine.yaml", WITH_YAML),
    Layout("the EMA weights of a pair", ema_on_request, "the EMA weights under 'state_dict_ema' are used", WITH_YAML),
    Layout("nnU-Net v1: other models", version_1_of_nnunet, "a model of nnU-Net v1, and only nnU-Net v2 is read",
           NOT_READ),
    Layout("nnU-Net v2: an exported zip", exported,
           "unpack it, such as with `nnUNetv2_install_pretrained_model_from_zip export_501.zip`", NOT_READ),
    Layout("nnU-Net v2: weights without plans", weights_of_nnunet,
           "its settings are in plans.json and dataset.json, which are missing", NOT_READ),
    Layout("nnU-Net v2: a cascade", cascade, "is a cascade, whose input is another network's", NOT_READ),
    Layout("TorchScript", torchscript, "a TorchScript program, which would run code and is not read", NOT_READ),
    Layout("ONNX, Keras, TensorFlow Lite, TensorRT, PaddlePaddle", onnx, "only weights of PyTorch are read", NOT_READ),
    Layout("VISTA3D", lambda folder: named(folder, "image_encoder.encoder.conv_init.weight",
           "image_encoder.up_layers_auto.0.blocks.0.conv1.weight", "class_head.class_embeddings.weight"),
           "its output depends on prompts", NOT_READ),
    Layout("MedicalNet and other encoders", lambda folder: named(folder, "module.conv1.weight",
           "module.layer1.0.conv1.weight"), "the file contains only an encoder", NOT_READ),
    Layout("quantised weights", quantised, "weights must be dense tensors of float16", NOT_READ),
    Layout("a whole model logged in MLflow", logged_model, "log_state_dict", NOT_READ),
    Layout("a network of your own", mine, "no network is known that has tensors such as 0.weight", NOT_READ),
]  # fmt: skip
