"""Times one window of each source of a ranking, before the first is scored."""

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from benchmark.core.torch_settings import restored_settings
from benchmark.data.prepared.cases import Cases
from benchmark.errors import one_line
from benchmark.features.window_selection import WindowPolicy
from benchmark.ranking.case_bootstrap import FEWEST_CASES
from benchmark.ranking.case_passes import OpenedSource, window_of
from benchmark.ranking.expected_size import ExpectedCase, ExpectedShapes
from benchmark.ranking.forecast import ExpectedPreparation, Forecast, ResampleNumbers, SourceForecast
from benchmark.ranking.source_errors import FAULTS, SourceError, blamed_on_source, own_files, stopping
from benchmark.ranking.window_timing import time_window
from benchmark.statistics import KEPT_CLASSES, SOFTMAX
from benchmark.statistics.case_cache import entry_path, in_use
from benchmark.statistics.collection import stem

if TYPE_CHECKING:
    from benchmark.ranking.ranker import Ranker


def forecast_of(
    ranker: "Ranker",
    nodes: Mapping[str, dict[str, object]],
    *,
    draws: int,
    report: Callable[[str], None] = lambda source: None,
    all_or_none: bool = False,
) -> Forecast:
    """Time one window of each source whose scores are not on disk.

    A source that fails is left to its turn, where its reason is found again.

    Args:
        ranker: What the sources share.
        nodes: Source -> its config.
        draws: Bootstrap resamples.
        report: Called with the name of each source before it is timed.
        all_or_none: Whether to time all sources if one of them has to be timed.

    Raises:
        CaseError: A case of the target cannot be read.
        WriteError: A file cannot be written.
    """
    configs = {name: OmegaConf.create(node) for name, node in nodes.items()}
    finished = {name for name, node in configs.items() if _is_finished(ranker, node)}
    if all_or_none and len(finished) < len(configs):
        finished = set()
    sources: dict[str, SourceForecast] = {}
    untimed: dict[str, str] = {}
    rates: dict[str, float] = {}
    stores = [ranker.chosen_cases().store]
    for name, node in configs.items():
        report(name)
        if name in finished:
            continue
        try:
            with restored_settings(), blamed_on_source("while one window was timed"):
                sources[name] = _time_source(ranker, node, rates)
        except FAULTS as error:
            if (stop := stopping(error)) is not None:
                raise stop from error
            failed = f"it failed {error.doing}: " if isinstance(error, SourceError) else ""
            untimed[name] = failed + one_line(error.__cause__ or error)
    numbers = partial(_resample_numbers, draws=draws, point_draws=ranker.options.point_draws)
    processes = next((store.settings.processes for store in stores if store is not None), 1)
    return Forecast(sources, len(finished), untimed, numbers, ranker.options.keep_gib, processes)


def _is_finished(ranker: "Ranker", node: DictConfig) -> bool:
    try:
        with restored_settings():
            return ranker.outcome_path(node).is_file()
    except FAULTS as error:
        if (stop := stopping(error)) is not None:
            raise stop from error
        return False


def _time_source(ranker: "Ranker", node: DictConfig, rates: dict[str, float]) -> SourceForecast:
    """A source's forecast; `rates` are the seconds to prepare a byte, by preparation, to which it may add one."""
    opened = ranker.open(node)
    model, preparation, cases = opened.pair.model, opened.pair.preparation, opened.cases
    names, requests = ranker.choice.chosen, ranker.requests(opened.pair.model)
    reads_softmax = SOFTMAX in [request for metric in ranker.metrics.values() for request in metric.requires]
    z = model.classes if model.head else 0
    with blamed_on_source("while the cases were read and prepared for it"):
        unprepared = {names[at]: _expected(cases, at) for at in range(len(cases)) if not _is_stored(cases, at)}
        if unprepared and repr(preparation) not in rates:
            at = names.index(next(iter(unprepared)))
            start = time.perf_counter()
            cases.prepare([at], required=False).reader(at)
            rates[repr(preparation)] = (time.perf_counter() - start) / max(unprepared[names[at]].nbytes, 1)
            if _is_stored(cases, at):
                del unprepared[names[at]]
    folder = ranker.pass_folder(node, preparation)
    with ExitStack() as use, ranker.attempt_to_open(node):
        with own_files(folder):
            use.enter_context(in_use(folder))
        with own_files(folder, opened.network):
            timing = time_window(
                opened,
                requests,
                ranker.metrics,
                stream=ranker.options.stream,
                classes=ranker.target.classes,
                folder=folder,
            )
    policies: tuple[WindowPolicy, ...] = ("all", "foreground") if ranker.choice.windows == "all" else ("foreground",)
    return SourceForecast(
        timing,
        opening=opened.seconds,
        passes=2 if reads_softmax and z > KEPT_CLASSES else 1,
        stored=z if SOFTMAX in requests else 0,
        cases={policy: _expected_cases(ranker, opened, policy) for policy in policies},
        finished={policy: _finished_cases(ranker, node, opened, policy) for policy in policies},
        unprepared=unprepared,
        preparing=rates.get(repr(preparation)),
        stores=_is_stored(cases, 0),
    )


def _is_stored(cases: Cases, index: int) -> bool:
    return cases.store is not None and cases.store.has(cases.requests[index])


def _expected(cases: Cases, index: int) -> ExpectedPreparation:
    return ExpectedPreparation(cases.requests[index].key, cases.requests[index].estimated_bytes)


def _expected_cases(ranker: "Ranker", opened: OpenedSource, policy: WindowPolicy) -> dict[str, ExpectedCase]:
    """Case -> its expected size for a source."""
    names, stream = ranker.choice.chosen, ranker.options.stream
    shapes = ExpectedShapes.of(opened.pair.preparation, ranker.checked[names[0]], opened.cases.reader(0).shape)
    expected = {}
    for name in names:
        checked = ranker.checked[name]
        window = window_of(opened.pair.model, shapes.shape(checked), stream)
        expected[name] = shapes.case(checked, window=window, overlap=stream.overlap, policy=policy)
    return expected


def _finished_cases(ranker: "Ranker", node: DictConfig, opened: OpenedSource, policy: WindowPolicy) -> frozenset[str]:
    """The cases whose statistics are all on disk, from the first pass."""
    other = ranker.with_choice(
        ranker.choice.smaller(windows=policy, number=len(ranker.choice.chosen)), ranker.resamples
    )
    folder, requests = other.pass_folder(node, opened.pair.preparation), other.requests(opened.pair.model)
    entries = {name: entry_path(folder, name, digest) for name, digest in other.cases.items()}
    return frozenset(
        name for name, entry in entries.items() if all((entry / stem(request)).is_dir() for request in requests)
    )


def _resample_numbers(m: int, *, draws: int, point_draws: int) -> ResampleNumbers:
    """The resamples of m cases, with two halves and, once, every case."""
    if m < 2:
        return ResampleNumbers(0, 0)
    rows = 0 if draws < 1 else m if m < FEWEST_CASES else draws
    return ResampleNumbers(min(point_draws, rows) + 3, rows + 3)
