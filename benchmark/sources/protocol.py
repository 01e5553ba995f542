"""What every source offers that is not pre-trained here: a checkpoint that lies somewhere."""

from typing import Protocol, runtime_checkable

from benchmark.sources.model import Model


@runtime_checkable
class Source(Protocol):
    """A checkpoint and how to read it."""

    @property
    def name(self) -> str: ...  # noqa: D102

    def digest(self) -> str:
        """SHA-256 over the files that decide its weights and its network."""
        ...

    def open(self) -> Model:
        """Read it.

        Raises:
            InputError: A file is missing, unreadable or refused, or the weights do not fit the network.
        """
        ...
