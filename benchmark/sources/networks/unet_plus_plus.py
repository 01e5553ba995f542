"""MONAI's BasicUNetPlusPlus as a network with a single output."""

from monai.networks.nets import BasicUNetPlusPlus
from torch import Tensor


class SingleOutputUNetPlusPlus(BasicUNetPlusPlus):  # type: ignore[misc]  # MONAI is not typed
    """Maps (b, in_channels, *grid) to the logits (b, out_channels, *grid) of the last of MONAI's outputs.

    MONAI's class returns a list, whose last map is that of the head at the end of the longest path.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        logits: Tensor = super().forward(x)[-1]
        return logits
