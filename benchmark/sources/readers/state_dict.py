"""Read a weights file, whose network is given or recognised by the names and shapes of the weights.

Weights files may be copies of each other in another format, such as `unet.pt` and `unet.safetensors`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from os.path import commonprefix
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmark.sources.model import Model
from benchmark.sources.networks.architecture import Architecture
from benchmark.sources.networks.discover import discovered
from benchmark.sources.networks.skeleton import shapes_of
from benchmark.sources.readers.candidates import Candidate, Contents, names_below, single_file
from benchmark.sources.readers.nnssl import adaptation_plan, plan_files, pretrained_model
from benchmark.sources.readers.nnunet_folder import is_known_version_1
from benchmark.sources.weights.families import Guess, current_names, first_names, guess
from benchmark.sources.weights.former_arguments import present_arguments
from benchmark.sources.weights.match import (
    HEAD_CLASSES,
    Allowed,
    Fit,
    assumptions,
    check_labels,
    fitted,
    named_prefix,
)
from benchmark.sources.weights.safe_load import SUFFIXES, monai_class, read_file, read_state, reported_as, state_of
from benchmark.sources.weights.shards import INDEX, check_whole, files_of, index_of, is_index
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
        ema: Take the EMA weights of a file that also has plain ones.
    """

    name: str
    path: str | Path
    arch: Architecture | None = None
    settings: Mapping[str, object] | None = None
    labels: Mapping[int, str] | None = None
    patch: Sequence[int] | None = None
    prefix: str | None = None
    ema: bool = False

    @classmethod
    def recognises(cls, path: Path) -> Contents | None:
        """Recognise a weights file by its suffix, and shards by their index or by one of them."""
        if index := path if is_index(path) and path.is_file() else index_of(path):
            name = index.name.partition(".")[0]
            return Contents(Candidate(cls, {"path": str(index)}, names_below(index.parent, name, index.name), index))
        is_weights = (path.suffix in SUFFIXES and path.is_file()) or is_known_version_1(path)
        return single_file(cls, path) if is_weights else None

    def digest(self) -> str:
        """SHA-256 over the file, or the index and its shards, and adaptation_plan.json; and the file's age."""
        path = Path(self.path)
        return dated_digest(*files_of(path), *plan_files(path))

    def open(self) -> Model:
        """Read the weights.

        Raises:
            InputError: The file is unreadable or refused, no network is recognised, or the weights do not match it.
        """
        check_whole(Path(self.path))
        read = read_file(Path(self.path))
        state = state_of(read, Path(self.path), ema=self.ema)
        if self.arch is None and self.prefix is None:
            plan = adaptation_plan(read.content, state.weights, Path(self.path))
            if plan is not None:
                given = self.settings or {}
                return pretrained_model(self.name, plan, state, Path(self.path), given=given, patch=self.patch)
        merging = merging_of_file(Path(self.path), state.weights)
        if self.arch is not None:
            merged = merged_network(self.arch.network, merging)
            arch, assumed, notes = replace(self.arch, network=merged.network), merged.assumed, merged.notes
            fit = fitted(arch, state.weights, source=self.name, prefix=self.prefix)
        else:
            start = named_prefix(self.prefix or "", state.weights, self.name)
            own = {name.removeprefix(start): tensor for name, tensor in state.weights.items() if name.startswith(start)}
            network = recognised(own, source=self.name, settings=self.settings or {}, merging=merging)
            arch, assumed, notes = network.arch, network.guess.assumed, network.notes
            fit = fit_recognised(network, source=self.name, prefix=None if self.prefix is None else "")
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
    """A recognised network: its weights under its own names, and notes on what was recognised or assumed."""

    arch: Architecture
    guess: Guess
    weights: Mapping[str, Tensor]
    notes: tuple[str, ...]


def recognised(
    weights: Mapping[str, Tensor], *, source: str, settings: Mapping[str, object], merging: ShownMerging | None = None
) -> Recognised:
    """Recognise a network of a known family by the names and shapes of the weights.

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
    built, dropped = best.family.network, tuple[str, ...]()
    if built is None:
        built = monai_class(best.network, where=f"source {source}: the network")
        present = present_arguments(built, arguments)
        arguments, dropped = present.settings, present.notes
    network = partial(built, **arguments)
    with reported_as(f"source {source}: {best.network} does not take the settings {best.settings}"):
        arch = architecture_of(best, network)
    if list(renamed) != list(weights):
        notes.append("its tensors have the names of MONAI up to 0.3")
    notes += [*best.family.notes, *best.notes, *dropped]
    if best.assumed:
        notes.append(f"assumed, since no tensor shows it: {assumptions(best.assumed)}")
    return Recognised(arch, best, best.family.with_own_names(current, best.prefix), tuple(notes))


def architecture_of(best: Guess, network: Callable[..., nn.Module]) -> Architecture:
    """The parts of a recognised network, named by its family or discovered."""
    name = best.network.lower()
    if best.family.architecture is not None:
        shapes_of(network, channels=1, classes=HEAD_CLASSES)  # its class refuses wrong settings
        return best.family.architecture(name, network, best.settings)
    return discovered(name, network, dims=best.dims, size=best.settings.get("img_size"))


def fit_recognised(network: Recognised, *, source: str, prefix: str | None = None) -> Fit:
    """Match a recognised network with its weights.

    Args:
        network: The network.
        source: The source's name, for errors.
        prefix: The prefix of the tensors' names; None: as recognised.

    Raises:
        InputError: The weights do not match.
    """
    guessed = network.guess
    start = guessed.prefix if prefix is None else prefix
    allowed = Allowed(guessed.family.extras, guessed.family.idle, whole=True)
    return fitted(network.arch, network.weights, source=source, prefix=start, allowed=allowed)


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
    place = Path(file.name.removesuffix(INDEX))
    is_bin = place.suffix == ".bin" and place.stem.partition(".")[0] == bin_name
    return safe_name + place.stem[len(bin_name) :] if is_bin else place.stem


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
