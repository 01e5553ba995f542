"""The terminal that commands print their results to."""

from rich.console import Console

WIDTH = 140  # columns if the output is a file or a pipe


def wide_console() -> Console:
    """A console as wide as the terminal, or of 140 columns if the output is a file or a pipe."""
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    return console
