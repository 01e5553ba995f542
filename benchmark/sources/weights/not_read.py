"""Public weights that are recognised and not read, by a tensor that only they have."""

import re
from dataclasses import dataclass

from benchmark.errors import InputError
from benchmark.sources.weights.family import Tensors

SEGRESNET_DS2 = r"(.*\.)?up_layers_auto\.\d+\..*"


@dataclass(frozen=True)
class NotRead:
    """Public weights that are not read.

    Attributes:
        marks: Tensors that only these weights have, as regular expressions; all of them are there.
        name: The network.
        reason: Why it is not read, and what to do if there is a way.
    """

    marks: tuple[str, ...]
    name: str
    reason: str


NOT_READ = (
    NotRead(
        (SEGRESNET_DS2, r"(.*\.)?class_head\.class_embeddings\.weight"),
        "VISTA3D",
        "its output depends on prompts, classes or clicks, so that it has no head with a fixed set of classes",
    ),
    NotRead(
        (SEGRESNET_DS2,),
        "SegResNetDS2, the image encoder of VISTA3D",
        "it has two decoders with an output each, for clicks and for classes",
    ),
    NotRead(
        (r"(.*\.)?conv_seg\.0\.weight", r"(.*\.)?layer1\.0\.conv1\.weight"),
        "MedicalNet's segmentation network (Med3D)",
        "it is a ResNet whose last map is enlarged in one step, so that there are no decoder stages to compare",
    ),
)
TEXT_HEAD = NotRead(
    (r"(.*\.)?organ_embedding",),
    "SuPreM's text-driven head without its network",
    "give the file with the network, such as *_backbone.pth",
)

NNUNET = (
    NotRead(
        (r"(.*\.)?encoder\.(stages\.0\.0|stem)\.convs\.0\..*", r"(.*\.)?decoder\.seg_layers\.0\.weight"),
        "nnU-Net's network",
        "its settings are in plans.json and dataset.json, which are missing; nnU-Net writes both into the folder "
        "Trainer__Plans__configuration: put the weights there as fold_0/checkpoint_final.pth",
    ),
    NotRead(
        (r"(.*\.)?conv_blocks_context\.0\.blocks\.0\.conv\.weight",),
        "nnU-Net v1's network",
        "only nnU-Net v2 is read; a function that builds it can be named as package.module:function",
    ),
)


def refuse(tensors: Tensors, candidates: tuple[NotRead, ...], *, source: str) -> None:
    """Refuse weights that are known and not read.

    Raises:
        InputError: They are those of a candidate, the first that matches.
    """
    for known in candidates:
        if all(any(re.fullmatch(mark, name) for name in tensors) for mark in known.marks):
            raise InputError(f"source {source}: the weights are those of {known.name}, not read: {known.reason}")
