"""Prepare the missing cases of a job in parallel, with progress and the disk space that they need."""

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch
from joblib.externals.loky import ProcessPoolExecutor
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from benchmark.data.prepared.request import CaseRequest
from benchmark.data.prepared.room import BEST_RATIO, GIB, NoRoomError, Room, check_room
from benchmark.errors import WriteError
from benchmark.storage.digest_memory import remember_in, remembering_path

if TYPE_CHECKING:
    from benchmark.data.prepared.store import PreparedStore

CHECK_EVERY = 5.0  # seconds between two looks at the disk
# Memory that preparing a case takes, over the bytes of its prepared arrays: 50 bytes per voxel were measured while a CT
# of 94 million voxels was resampled
MEMORY_RATIO = 10
SMALL = 2**28  # bytes of prepared arrays, which one process prepares faster than further ones start

log = logging.getLogger(__name__)


def prepare_missing(store: "PreparedStore", requests: Sequence[CaseRequest], *, required: bool) -> None:
    """Prepare the cases that are not stored yet.

    Args:
        store: The store; the cases are marked as used by the caller.
        requests: The cases of a job.
        required: Whether to fail if they cannot fit; if not, as many are stored as fit.

    Raises:
        InputError: They are required and cannot fit.
        CaseError: The files of a case are faulty.
        WriteError: A prepared case cannot be written.
    """
    missing = list({request.key: request for request in requests if not store.has(request)}.values())
    if not missing:
        return
    missing.sort(key=lambda request: -request.estimated_bytes)  # a large case that comes last would keep one core busy
    needed, room = sum(request.estimated_bytes for request in missing), store.room()
    if required:
        check_room(int(needed * BEST_RATIO), room, cases=len(missing))
    elif needed * BEST_RATIO > room.nbytes:
        log.info("cases that cannot be stored: %d, %s leaves no space; prepared at each use", len(missing), room.limit)
        return
    processes = _processes(store, missing, needed)
    if needed >= SMALL:
        _announce(len(missing), needed, room, processes)
    try:
        _prepare(store, missing, processes=processes, needed=needed)
    except (NoRoomError, WriteError) as error:
        if required:
            raise
        log.info("cases that cannot be stored are prepared at each use: %s", error)


def _announce(cases: int, needed: int, room: Room, processes: int) -> None:
    several = f"{processes} processes" if processes > 1 else "1 process"
    log.info("preparing %d cases in %s: up to %.1f GiB before compression, %s: %.1f GiB", cases, several,
             needed / GIB, room.limit, room.nbytes / GIB)  # fmt: skip


def _processes(store: "PreparedStore", missing: Sequence[CaseRequest], needed: int) -> int:
    """The number of processes: as set, or one per core, of which each has the memory for the largest case."""
    if needed < SMALL:
        return 1
    fitting = psutil.virtual_memory().available // (MEMORY_RATIO * missing[0].estimated_bytes)
    return min(store.settings.processes or min(len(os.sched_getaffinity(0)), max(fitting, 1)), len(missing))


def _prepare(store: "PreparedStore", missing: Sequence[CaseRequest], *, processes: int, needed: int) -> None:
    """Prepare cases; the space that the others are likely to take is checked after the first, and every few seconds."""
    done = size = checked = 0.0
    bar = tqdm(total=len(missing), desc="preparing", unit="case", disable=None if needed >= SMALL else True)
    with bar:
        for request in _prepared(store, missing, processes):
            bar.update()
            done += request.estimated_bytes
            size += store.size(request.key)
            if time.monotonic() - checked < CHECK_EVERY:
                continue
            checked = time.monotonic()
            left = int((needed - done) * (size / done if done else 1.0))
            store.evict(left)
            check_room(left, store.room(), cases=len(missing) - int(bar.n))


def _prepared(store: "PreparedStore", missing: Sequence[CaseRequest], processes: int) -> Iterator[CaseRequest]:
    """Prepare cases, and yield each when it is done."""
    if processes == 1:
        for request in missing:
            store.make(request)
            yield request
        return
    # loky's workers, unlike those of the standard library, do not import the main module, which may be a user's script
    with ProcessPoolExecutor(processes, initializer=_start, initargs=(os.getpid(), remembering_path())) as pool:
        jobs = {pool.submit(store.make, request): request for request in missing}
        try:
            for job in as_completed(jobs):
                job.result()
                store.prepared += 1
                yield jobs[job]
        except BaseException:
            pool.shutdown(wait=False, kill_workers=True)
            raise


def _start(parent: int, digests: Path | None) -> None:
    """Set a worker up: one thread, the digests that its parent remembers, and an end with its parent's, or by it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which kills its workers
    torch.set_num_threads(1)
    threadpool_limits(limits=1)
    if digests is not None:
        remember_in(digests)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """End this process within a second of its parent's end, which may be a kill."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
