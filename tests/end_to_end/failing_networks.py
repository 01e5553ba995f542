"""Small networks that fail in one way each, for `source=tests.end_to_end.failing_networks:NAME`; and two that do not.

Finding a network's parts forwards noise of 32 voxels a side, and its window is tried with zeros: what fails in the pass
over the target alone does so for other shapes and other values.
"""

import errno
import os
import signal
import sys

import torch
from monai.networks.nets import SegResNetDS
from torch import Tensor, nn

NO_MEMORY = (
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate "
    "549755813888 bytes. Error code 12 (Cannot allocate memory)"
)


class OwnError(Exception):
    """An exception that nobody else knows."""


class Healthy(nn.Module):
    """One layer and a head."""

    width = 4

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv3d(in_channels, self.width, 3, padding=1), nn.ReLU())
        self.head = nn.Conv3d(self.width, out_channels, 1)

    def forward(self, views: Tensor) -> Tensor:
        if self.training:
            self.in_training()
        elif views.any() and views.shape[2:] != (32, 32, 32):
            self.in_the_pass()
        return self.head(self.body(views))

    def in_training(self) -> None:
        """Fail, in a subclass."""

    def in_the_pass(self) -> None:
        """Fail, in a subclass."""


class Wide(Healthy):
    width = 8


class Wider(Healthy):
    width = 12


class RaisesWhenMade(Healthy):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        raise OwnError("no network\nfor you")


class RaisesInThePass(Healthy):
    def in_the_pass(self) -> None:
        raise OwnError("this case is too hard")


class RaisesOSErrorInThePass(Healthy):
    def in_the_pass(self) -> None:
        raise FileNotFoundError(2, "No such file or directory", "/no/such/table.npy")


class DiskFullInThePass(Healthy):
    def in_the_pass(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/dev/shm/its_own")


class ExitsWhenMade(Healthy):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        sys.exit("usage: make")


class ExitsInThePass(Healthy):
    def in_the_pass(self) -> None:
        sys.exit(0)


class ExitsInTraining(Healthy):
    def in_training(self) -> None:
        sys.exit()


class Unknown(BaseException):
    """No Exception."""


class RaisesNoExceptionInThePass(Healthy):
    def in_the_pass(self) -> None:
        raise Unknown("base")


class ChangesSettings(Healthy):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        super().__init__(in_channels, out_channels)


class ChangesFolder(Healthy):
    def in_the_pass(self) -> None:
        os.chdir("/")


class KilledWhenTried(Healthy):
    def forward(self, views: Tensor) -> Tensor:
        if not views.any() and not self.training:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().forward(views)


class NoMemoryInThePass(Healthy):
    def in_the_pass(self) -> None:
        raise RuntimeError(NO_MEMORY)


class NoMemoryInTraining(Healthy):
    def in_training(self) -> None:
        raise RuntimeError(NO_MEMORY)


class RaisesInTraining(Healthy):
    def in_training(self) -> None:
        raise OwnError("only for inference")


class KilledInTraining(Healthy):
    def in_training(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


class NanWeights(Healthy):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        with torch.no_grad():
            self.head.weight[0] = float("nan")


class NanLayer(nn.Module):
    def forward(self, views: Tensor) -> Tensor:
        return views * float("nan")


class NanFeatures(Healthy):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels)
        self.body.append(NanLayer())


class NoDecoder(Healthy):
    """No module puts out what the head takes."""

    def forward(self, views: Tensor) -> Tensor:
        return self.head(self.body(views) + 1)


def deeply_supervised(in_channels: int, out_channels: int) -> nn.Module:
    return SegResNetDS(in_channels=in_channels, out_channels=out_channels, init_filters=8, blocks_down=(1, 1, 1),
                       dsdepth=3)  # fmt: skip
