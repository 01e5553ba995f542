"""Whether and how a checkpoint meets a task's data, said before any pass: from the checkpoint and from headers alone.

A ranking's own checks are made, in its order: the same preparation, the same adaptation to the channels, the same
windows. Only the network's forward pass is not run; it is followed on shapes (see `window_memory`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import psutil
import torch

from benchmark.data.preprocessing.normalise import ChannelSchemes, Normalisation, Scheme
from benchmark.data.preprocessing.planning import Plan
from benchmark.data.preprocessing.preparation import Preparation
from benchmark.data.tasks.checking import header_note
from benchmark.data.tasks.labelled_folder import PlannedTask
from benchmark.data.tasks.task import Task, class_names
from benchmark.errors import InputError, SkipPair, one_line, with_class
from benchmark.metric.protocol import Metric, reads_prediction
from benchmark.ranking.case_passes import (
    StreamSettings,
    batch_size,
    check_logits,
    check_taps,
    check_weights,
    sides,
    tapped,
    window_of,
)
from benchmark.ranking.header_sizes import PreparedSize, median_size, prepared_sizes, read_headers
from benchmark.ranking.source_errors import FAULTS, SourceError, blamed_on_source
from benchmark.ranking.window_memory import window_memory
from benchmark.sources.model import Model
from benchmark.sources.pairing import adapted, preparation_of

GIB = 2**30
SHOWN = 6  # names of classes


@dataclass(frozen=True)
class Aspect:
    """One respect in which a checkpoint meets a task's data.

    Attributes:
        name: Such as "channels".
        text: What was compared, and what a ranking will do, in plain words.
        adapted: Whether the source or the volumes are changed for the other's sake.
        caveat: What the verdict has to say of it in addition, such as what is assumed.
    """

    name: str
    text: str
    adapted: bool = False
    caveat: str = ""


@dataclass(frozen=True)
class Compatibility:
    """How a checkpoint meets a task's data.

    Attributes:
        aspects: What was compared.
        refusal: Why it cannot be scored; empty if it can.
    """

    aspects: tuple[Aspect, ...]
    refusal: str = ""

    @property
    def verdict(self) -> str:
        """One line.

        Example:
            >>> channels = Aspect("channels", "", adapted=True)
            >>> Compatibility((channels, Aspect("patch", "", caveat="patch assumed"))).verdict
            'fits with 1 adaptation (channels; patch assumed)'
            >>> Compatibility(()).verdict, Compatibility((), "it is a 3D network").verdict
            ('fits', 'cannot be scored: it is a 3D network')
        """
        if self.refusal:
            return f"cannot be scored: {self.refusal}"
        changed = [aspect.name for aspect in self.aspects if aspect.adapted]
        count = f" with {len(changed)} adaptation{'s' if len(changed) > 1 else ''}" if changed else ""
        detail = [", ".join(changed)] if changed else []
        detail += [aspect.caveat for aspect in self.aspects if aspect.caveat]
        return f"fits{count}" + (f" ({'; '.join(detail)})" if detail else "")


@dataclass(frozen=True)
class RankSettings:
    """The settings of a ranking that decide how a source meets the data.

    Attributes:
        intensities: Whose plan decides on intensities, "source" or "target".
        spacing: Whose plan decides on spacing, crop and axes, "source" or "target".
        stream: Which windows go through the network.
        metrics: Name -> metric.
        split: The cases that are scored.
    """

    intensities: str
    spacing: str
    stream: StreamSettings
    metrics: Mapping[str, Metric]
    split: str


@dataclass(frozen=True)
class _Meeting:
    """What all aspects read: the source, the target, the preparation of its volumes, and their sizes under it."""

    model: Model
    target: Task
    preparation: Preparation
    sizes: Sequence[PreparedSize]
    settings: RankSettings

    @property
    def median(self) -> PreparedSize:
        return median_size(self.sizes)

    @property
    def flat(self) -> bool:
        """Whether the images are 2D, by the first case, as in a ranking."""
        return self.sizes[0].shape[0] == 1

    def knows(self, part: str) -> bool:
        """Whether the source's own intensities, or spacing, are known."""
        own = self.model.preparation
        return own is not None and part not in own.unknown

    def assumed(self, part: str) -> str:
        """What the verdict has to say where the source's own intensities, or spacing, are not known."""
        return "" if self.knows(part) else f"{part} assumed"

    def decided_by(self, part: str) -> str:
        """Whose plan decides on intensities or spacing, and why."""
        if getattr(self.settings, part) == "target":
            return f"the target's plan (preparation.{part}=target)"
        return "its own plan" if self.knows(part) else "the target's plan, since its own is not known"


def compatibility(model: Model, target: Task, settings: RankSettings) -> Compatibility:
    """Compare a checkpoint with a task's data, without a pass.

    Args:
        model: The opened checkpoint.
        target: The task. The headers of its files are read, and the voxels of its first case where dataset.json does
            not say how many channels it has.
        settings: Those of the ranking.

    Raises:
        InputError: A setting is invalid, or the files of the task are faulty, for which a ranking stops, too.
    """
    target, planned = _without_planning(target)
    cases = read_headers(target, settings.split)
    preparation = preparation_of(model, target.preparation, intensities=settings.intensities, spacing=settings.spacing)
    meeting = _Meeting(model, target, preparation, prepared_sizes(cases, preparation), settings)
    changed, refusal = model, ""
    try:
        with blamed_on_source("while it was adapted"):
            changed = _adapted(meeting)
    except FAULTS as error:
        refusal = _reason(error)
    compared = (_dimensions, partial(_channels, changed), _spacing, _patch, _intensities)
    aspects = [compare(meeting) for compare in compared]
    aspects += [*planned, *_orientation(meeting), _classes(meeting), _head(meeting)]
    if note := header_note({case.name: case.checked for case in cases}):
        aspects.append(Aspect("headers", note))
    if not refusal:
        try:
            with blamed_on_source("while its network was made"):
                aspects.append(_memory(changed, meeting))
        except FAULTS as error:
            refusal = _reason(error)
    return Compatibility(tuple(aspects), refusal)


def _reason(error: InputError | SkipPair | SourceError) -> str:
    if isinstance(error, SourceError):
        return f"{with_class(error.__cause__ or error)} {error.doing}"
    return one_line(error)


def _without_planning(target: Task) -> tuple[Task, list[Aspect]]:
    """The task, with stand-in settings where nnU-Net plans it from all voxels; and what to say of that."""
    if not isinstance(target, PlannedTask) or target.plan.kind != "nnunet":
        return target, []
    text = "nnU-Net plans the target from all its voxels when it is ranked; z-score and stored spacing stand in here"
    return replace(target, plan=Plan()), [Aspect("target's plan", text, caveat="the target's plan assumed")]


def _adapted(meeting: _Meeting) -> Model:
    """The source as a ranking adapts it.

    Raises:
        SkipPair: It cannot be scored. Also the InputErrors of resampling.
    """
    model, preparation, channels = meeting.model, meeting.preparation, meeting.target.channels
    check_taps(model)

    def check_volumes() -> None:
        meeting.target.cases(meeting.settings.split, preparation)  # arrays that are prepared follow no other plan
        meeting.sizes[0].check()
        if isinstance(preparation.normalisation, ChannelSchemes):
            preparation.normalisation.of_channels(channels)

    if model.arch.dims == 3:
        check_volumes()
    changed = adapted(model, channels=channels, flat=meeting.flat)
    check_volumes()
    return changed


def _dimensions(meeting: _Meeting) -> Aspect:
    is_flat = all(size.shape[0] == 1 for size in meeting.sizes)
    dims, volumes = meeting.model.arch.dims, "2D images" if is_flat else "3D volumes"
    if dims == 2 and not is_flat:
        text = f"2D network, {volumes}: their slices along the first axis go through it one by one"
        return Aspect("dimensions", text, adapted=True)
    refused = ": they cannot meet" if dims == 3 and meeting.flat else ""
    return Aspect("dimensions", f"{dims}D network, {volumes}{refused}")


def _channels(changed: Model, meeting: _Meeting) -> Aspect:
    own, other = meeting.model.channels, meeting.target.channels
    if own == other:
        return Aspect("channels", f"it takes {own}, and the target has {other}")
    notes = changed.notes[len(meeting.model.notes) :]
    text = notes[0] if notes else "they cannot meet"
    return Aspect("channels", f"it takes {own}, the target has {other}: {text}", adapted=bool(notes))


def _spacing(meeting: _Meeting) -> Aspect:
    own, chosen, size = meeting.model.preparation, meeting.preparation.spacing, meeting.median
    by, caveat = meeting.decided_by("spacing"), meeting.assumed("spacing")
    trained = own.spacing if own and meeting.knows("spacing") else None
    is_other = trained is not None and trained != chosen
    seen = f"; it was trained at {_mm(trained)}" if trained and is_other else ""
    if not size.stored:
        return Aspect("spacing", f"the target's arrays are stored as prepared{seen}", adapted=is_other, caveat=caveat)
    if chosen is None:
        text = f"as stored ({_mm(size.stored)} in the median case, {size.name}), by {by}{seen}"
        return Aspect("spacing", text, adapted=is_other, caveat=caveat)
    factors = _product(f"{old / new:.3g}" for old, new in zip(size.stored, size.spacing, strict=True))
    is_resampled = any(size.spacing != size.stored for size in meeting.sizes)
    how = f"the median case ({size.name}, {_mm(size.stored)}) is resampled by {factors} along its axes"
    text = f"{_mm(chosen)}, by {by}: {how if is_resampled else 'every case is stored with it'}{seen}"
    is_adapted = is_other or (chosen != meeting.target.preparation.spacing and is_resampled)
    return Aspect("spacing", text, adapted=is_adapted, caveat=caveat)


def _orientation(meeting: _Meeting) -> list[Aspect]:
    wanted, stored = meeting.preparation.orientation, [size.case.directions for size in meeting.sizes]
    turned, kept = sum(letters not in ("", wanted) for letters in stored), stored.count("")
    text = f"{wanted}, by its own plan: {turned} of {len(stored)} cases are turned, {kept} without directions are not"
    return [Aspect("orientation", text, adapted=turned > 0)] if wanted else []


def _patch(meeting: _Meeting) -> Aspect:
    model, stream, size = meeting.model, meeting.settings.stream, meeting.median
    windows = [window_of(model, size.shape, stream) for size in meeting.sizes]
    window = window_of(model, size.shape, stream)
    padded = [any(n < w for n, w in zip(size.shape, window, strict=True))
              for size, window in zip(meeting.sizes, windows, strict=True)]  # fmt: skip
    count = size.shapes.case(size.case, window=window, overlap=stream.overlap, policy="all").windows
    at_most = "at most " if stream.windows == "foreground" else ""
    crop = " before its crop to nonzero voxels" if meeting.preparation.crop and size.stored else ""
    own = "its own patch" if model.patch else f"its own patch is not known, stream.window={sides(stream.window)}"
    text = f"windows of {sides(window)} voxels ({own}): {at_most}{count} for the median case of "
    text += f"{sides(size.shape)} voxels{crop}"
    if any(padded):
        text += f"; {sum(padded)} of {len(padded)} cases are smaller along an axis and padded with zeros"
    caveat = "" if model.patch else "patch assumed"
    return Aspect("patch", text, adapted=model.patch is not None and any(padded), caveat=caveat)


def _intensities(meeting: _Meeting) -> Aspect:
    own, target, chosen = meeting.model.preparation, meeting.target.preparation, meeting.preparation.normalisation
    text = f"{in_words(chosen)}, by {meeting.decided_by('intensities')}"
    if chosen != target.normalisation:
        return Aspect("intensities", f"{text} (the target's: {in_words(target.normalisation)})", adapted=True)
    if own and meeting.knows("intensities") and own.normalisation != chosen:
        return Aspect("intensities", f"{text} (its own: {in_words(own.normalisation)})", adapted=True)
    return Aspect("intensities", text, caveat=meeting.assumed("intensities"))


def in_words(normalisation: Normalisation | ChannelSchemes) -> str:
    """How intensities are normalised, in a few words.

    Example:
        >>> in_words(Normalisation()), in_words(Normalisation((-160, 240)))
        ("each volume's z-score", 'window -160 .. 240 scaled to -1 .. 1')
        >>> in_words(ChannelSchemes((Scheme("CTNormalization", mean=50, std=60, low=-90, high=280),)))
        'CT window -90 .. 280, minus 50, divided by 60 (CTNormalization)'
    """
    if isinstance(normalisation, ChannelSchemes):
        return ", ".join(dict.fromkeys(_scheme(scheme) for scheme in normalisation.schemes))
    if normalisation.window is None:
        return "each volume's z-score"
    low, high = normalisation.window
    return f"window {low:g} .. {high:g} scaled to -1 .. 1"


def _scheme(scheme: Scheme) -> str:
    if scheme.name == "CTNormalization":
        return (f"CT window {scheme.low:g} .. {scheme.high:g}, minus {scheme.mean:g}, divided by {scheme.std:g} "
                f"({scheme.name})")  # fmt: skip
    words = {
        "ZScoreNormalization": "z-score of its nonzero voxels" if scheme.masked else "each volume's z-score",
        "NoNormalization": "unchanged",
        "RescaleTo01Normalization": "rescaled to 0 .. 1",
        "RGBTo01Normalization": "colours divided by 255",
    }
    return f"{words[scheme.name]} ({scheme.name})"


def _classes(meeting: _Meeting) -> Aspect:
    target = class_names(meeting.target.labels)
    if not meeting.model.labels:
        return Aspect("classes", f"its label names are not known; the target's: {_names(target)}")
    own = class_names(meeting.model.labels)
    common = own & target
    text = f"{len(common)} of the target's {len(target)} in common"
    rest = [f"the target's only: {_names(target - own)}" if target - own else "",
            f"its own only: {_names(own - target)}" if own - target else ""]  # fmt: skip
    return Aspect("classes", "; ".join(filter(None, (text + (f": {_names(common)}" if common else ""), *rest))))


def _head(meeting: _Meeting) -> Aspect:
    if meeting.model.head:
        return Aspect("head", f"it predicts {meeting.model.classes} classes, so that every metric can be computed")
    reading = [name for name, metric in meeting.settings.metrics.items() if reads_prediction(metric)]
    text = f"{', '.join(reading) or 'no metric'} will be NaN"
    return Aspect("head", f"it has no segmentation head: {text}", caveat=f"no head: {text}" if reading else "")


def _memory(changed: Model, meeting: _Meeting) -> Aspect:
    """The expected memory of one window's forward pass; as a ranking does, it first checks the weights.

    Raises:
        SkipPair: A weight is not finite, the network fails, or it returns no logits of its window's shape.
    """
    stream = meeting.settings.stream
    network = changed.network()
    check_weights(network)
    window = max((window_of(changed, size.shape, stream) for size in meeting.sizes), key=prod)
    taps = tapped(changed, meeting.settings.metrics)
    try:
        memory = window_memory(network, taps, channels=changed.channels, window=window)
    except Exception as error:
        if "meta" not in str(error).lower():  # it fails because of shapes, not for want of values
            doing = f"in its forward pass of one empty window of {sides(window)} voxels"
            raise SkipPair(f"{type(error).__name__} {doing}: {one_line(error)}") from error
        text = f"not estimated: its forward pass cannot be followed without running it ({with_class(error)})"
        return Aspect("memory", text, caveat="its forward pass was not checked")
    check_logits(changed, memory.logits, (1, changed.channels, *window))
    batch = batch_size(window, stream)
    together = memory.weights + batch * memory.activations
    text = (
        f"about {in_bytes(memory.nbytes)} for the forward pass of one window of {sides(window)} voxels, "
        f"{in_bytes(together)} for {batch} at a time (stream.batch); an estimate, no pass was run"
    )
    free = _free_memory(stream.device)
    if free is not None and together > free:
        text += f"; only {in_bytes(free)} are free here: a smaller stream.batch takes less"
    return Aspect("memory", text)


def _free_memory(device: str) -> int | None:
    """Free bytes of the device; None if there is no such device here."""
    if not device.startswith("cuda"):
        return int(psutil.virtual_memory().available)
    return torch.cuda.mem_get_info(device)[0] if torch.cuda.is_available() else None


def in_bytes(nbytes: float) -> str:
    """A size in GiB, or in MiB if it is below 1 GiB.

    Example:
        >>> in_bytes(3 * 2**29), in_bytes(2**20)
        ('1.5 GiB', '1 MiB')
    """
    return f"{nbytes / GIB:.1f} GiB" if nbytes >= GIB else f"{max(nbytes / 2**20, 1):.0f} MiB"


def _mm(spacing: Sequence[float]) -> str:
    return _product(f"{mm:.3g}" for mm in spacing) + " mm"


def _product(parts: Iterable[str]) -> str:
    return " x ".join(parts)


def _names(names: set[str]) -> str:
    shown = sorted(names)
    return ", ".join(shown[:SHOWN]) + (f" and {len(shown) - SHOWN} more" if len(shown) > SHOWN else "")
