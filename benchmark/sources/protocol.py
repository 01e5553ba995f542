"""The protocol of sources that are not pre-trained here: existing checkpoints."""

from typing import Protocol, runtime_checkable

from benchmark.sources.model import Model


@runtime_checkable
class Source(Protocol):
    """A checkpoint with the settings to read it."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def digest(self) -> str:
        """SHA-256 over the files that decide its weights and its network."""
        ...

    def open(self) -> Model:
        """Read the checkpoint.

        Raises:
            InputError: A file is missing, unreadable or refused, or the weights do not match the network.
        """
        ...
