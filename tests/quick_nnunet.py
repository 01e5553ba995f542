"""nnU-Net in this process without the two things that make it slow on tiny cases.

Its pools start processes that import it anew, which takes longer than their work; its fingerprint draws 10^8 voxels.
"""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import torch

VOXELS = 1e5


@contextmanager
def quick_nnunet() -> Iterator[None]:
    """A block in which nnU-Net's pools are forks, and its fingerprint is of fewer voxels."""
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    begin, context_of = DatasetFingerprintExtractor.__init__, multiprocessing.get_context

    def begin_with_few(self: Any, *arguments: Any, **settings: Any) -> None:
        begin(self, *arguments, **settings)
        self.num_foreground_voxels_for_intensitystats = VOXELS

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DatasetFingerprintExtractor, "__init__", begin_with_few)
        patched.setattr(
            multiprocessing, "get_context", lambda name=None: Forks() if name == "spawn" else context_of(name)
        )
        yield


class Forks:
    """What nnU-Net uses of a context of multiprocessing; torch's threads do not survive a fork."""

    Pool = staticmethod(
        partial(multiprocessing.get_context("fork").Pool, initializer=torch.set_num_threads, initargs=(1,))
    )
