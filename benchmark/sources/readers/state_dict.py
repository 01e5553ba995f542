"""Read a weights file, whose network is given or recognised by the names and shapes of the weights.

Weights files may be copies of each other in another format, such as `unet.pt` and `unet.safetensors`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from os.path import commonprefix
from pathlib import Path

import torch
from torch import Tensor

from benchmark.errors import InputError
from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.discover import discovered
from benchmark.sources.readers.candidates import Contents, single_file
from benchmark.sources.weights.match import Allowed, Fit, assumptions, fitted
from benchmark.sources.weights.monai_signatures import Guess, current_names, first_names, guess
from benchmark.sources.weights.safe_load import SUFFIXES, monai_class, read_state, reported_as
from benchmark.sources.weights.swin_merging import (
    ShownMerging,
    dated_digest,
    merged_network,
    merging_of_file,
    with_merging,
)

HUGGING_FACE = ("pytorch_model", "model")  # names of a model in .bin and in .safetensors


@dataclass(frozen=True)
class StateDictSource:
    """A weights file written by torch.save or safetensors; attributes not listed as in `Reader`.

    Attributes:
        arch: The network; None: recognised.
        settings: Arguments of a recognised network, which override those that the weights show.
    """

    name: str
    path: str | Path
    arch: Architecture | None = None
    settings: Mapping[str, object] | None = None
    labels: Mapping[int, str] | None = None
    patch: Sequence[int] | None = None
    prefix: str | None = None

    @classmethod
    def recognises(cls, path: Path) -> Contents | None:
        """Recognise a weights file by its suffix."""
        return single_file(cls, path) if path.suffix in SUFFIXES and path.is_file() else None

    def digest(self) -> str:
        """SHA-256 over the file, and whether it predates a change in MONAI."""
        return dated_digest(Path(self.path))

    def open(self) -> Model:
        """Read the weights.

        Raises:
            InputError: The file is unreadable or refused, no network is recognised, or the weights do not match it.
        """
        state = read_state(Path(self.path))
        merging = merging_of_file(Path(self.path), state.weights)
        if self.arch is not None:
            merged = merged_network(self.arch.network, merging)
            arch, assumed, notes = replace(self.arch, network=merged.network), merged.assumed, merged.notes
            fit = fitted(arch, state.weights, source=self.name, prefix=self.prefix)
        else:
            start = self.prefix or ""
            own = {name.removeprefix(start): tensor for name, tensor in state.weights.items() if name.startswith(start)}
            network = recognised(own, source=self.name, settings=self.settings or {}, merging=merging)
            arch, assumed, notes = network.arch, network.guess.assumed, network.notes
            prefix = network.guess.prefix if self.prefix is None else ""
            allowed = Allowed(network.guess.family.extras, network.guess.family.idle, whole=True)
            fit = fitted(arch, network.weights, source=self.name, prefix=prefix, allowed=allowed)
        return fit.model(
            self.name,
            arch,
            facts={"kind": "state dict", "path": str(self.path)},
            assumed=assumed,
            labels=check_labels(self.labels, fit, self.name),
            patch=arch.size or self.patch,
            notes=(*state.notes, *notes),
        )


@dataclass(frozen=True)
class Recognised:
    """A recognised network: its weights under MONAI's present names, and notes on what was recognised or assumed."""

    arch: Architecture
    guess: Guess
    weights: Mapping[str, Tensor]
    notes: tuple[str, ...]


def recognised(
    weights: Mapping[str, Tensor], *, source: str, settings: Mapping[str, object], merging: ShownMerging | None = None
) -> Recognised:
    """Recognise one of MONAI's networks by the names and shapes of the weights.

    Args:
        weights: The state dict.
        source: The source's name, for errors.
        settings: The user's settings of the network, which override those that the weights show.
        merging: The merging of a Swin UNETR that the file shows by other means than its weights.

    Raises:
        InputError: No network matches, or its class refuses the settings.
    """
    renamed = current_names(weights)
    current = first_names(renamed) | renamed
    best = guess(current, source=source, given=settings)
    notes = [f"recognised as {best.network} by its weights"]
    if merging and "merging" in best.assumed:
        best = best.with_setting("merging", merging.form, certain=merging.certain)
        notes.append(merging.note)
    arguments = with_merging(best.network, best.settings, source=source)
    network = partial(monai_class(best.network, where=f"source {source}: the network"), **arguments)
    with reported_as(f"source {source}: {best.network} does not take the settings {best.settings}"):
        arch = discovered(best.network.lower(), network, dims=best.dims, size=best.settings.get("img_size"))
    if list(renamed) != list(weights):
        notes.append("its tensors have the names of MONAI up to 0.3")
    if best.assumed:
        notes.append(f"assumed, since no tensor shows it: {assumptions(best.assumed)}")
    return Recognised(arch, best, current, tuple(notes))


def check_labels(labels: Mapping[int, str] | None, fit: Fit, source: str) -> dict[int, str]:
    """Check that there are as many labels as channels of the head, and return them.

    Raises:
        InputError: The numbers differ.
    """
    if labels and fit.head and len(labels) != fit.classes:
        raise InputError(f"source {source}: labels must name the head's {fit.classes} channels, got {len(labels)}")
    return {int(value): name for value, name in (labels or {}).items()}


def formats_of_one_model(files: Sequence[Path]) -> dict[Path, Path]:
    """Map each file to an earlier one with the same folder and stem whose tensors are equal; others are left out.

    Only files that share a stem are read; Hugging Face's `pytorch_model.bin` and `model.safetensors` count as such.
    """
    places = {file: (file.parent.resolve(), _stem(file)) for file in files}
    numbers = Counter(places.values())
    kept: dict[tuple[Path, str, str], Path] = {}
    copies: dict[Path, Path] = {}
    for file, place in places.items():
        content = _fingerprint(file) if numbers[place] > 1 else None
        first = kept.setdefault((*place, content), file) if content else file
        if first != file:
            copies[file] = first
    return copies


def _stem(file: Path) -> str:
    bin_name, safe_name = HUGGING_FACE
    is_bin = file.suffix == ".bin" and file.stem.partition(".")[0] == bin_name
    return safe_name + file.stem[len(bin_name) :] if is_bin else file.stem


def _fingerprint(file: Path) -> str | None:
    """SHA-256 over names, kinds, shapes and bytes of the tensors, so that NaN equals NaN; None if unreadable.

    A prefix that all names share, such as Lightning's `net.`, does not count.
    """
    try:
        weights = read_state(file).weights
    except Exception:  # a file can be broken in any way; opening it as a source reports the reason
        return None
    common = commonprefix(list(weights)).rfind(".") + 1  # noqa: RUF071 - names of tensors, not paths
    named = first_names({name[common:]: tensor for name, tensor in weights.items()})
    total = sha256()
    for name, tensor in sorted(named.items()):
        if not name.startswith("skip_layers."):
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
            total.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
