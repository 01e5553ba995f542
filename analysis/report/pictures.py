"""Pictures of tasks and of predictions, fetched from their runs and made small enough to embed."""

import base64
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from analysis.report.provenance import Download
from analysis.truth.pools import Pool
from benchmark.tracking.records import Row

WIDEST = 640  # pixels
MOST_TARGETS = 20  # targets whose predictions are shown
FILE = re.compile(r"(best|worst)_(.+)_dice(nan|[\d.]+)\.png")


@dataclass(frozen=True)
class Picture:
    """An image with its texts.

    Attributes:
        task: The task, or the target.
        alt: The text for readers who cannot see the image.
        caption: The line below it.
        address: The image as a data URI.
    """

    task: str
    alt: str
    caption: str
    address: str


def task_pictures(download: Download, rows: Iterable[Row], folder: Path) -> tuple[Picture, ...]:
    """A picture of each prepared task.

    Args:
        download: Fetches an artifact of a run.
        rows: Rows of the stage prepare, one per task.
        folder: The folder for downloads.

    Returns:
        One picture per task; none for a run without a picture.
    """
    found = []
    for row in rows:
        task = row.params["task"]
        for path in _fetched(download, row, folder):
            cases = ", ".join(f"{row.metrics[name]:.0f} {split}" for name, split in _splits(row))
            alt = f"Three slices through a case of {task}, its labels outlined in orange"
            found.append(Picture(task, alt, f"{task}: {cases} cases", embedded(path)))
    return tuple(found)


def prediction_pictures(
    download: Download, rows: Sequence[Row], pools: Sequence[Pool], folder: Path
) -> tuple[Picture, ...]:
    """The best and the worst test case of each target's best source.

    Args:
        download: Fetches an artifact of a run.
        rows: Rows of the stage truth.
        pools: The truth of each target.
        folder: The folder for downloads.

    Returns:
        Two pictures per target, of the first seed; none for a run without pictures.
    """
    runs = {(row.params["target"], row.params["tune"], row.params["source"], row.params["seed"]): row for row in rows}
    found = []
    for pool in [pool for pool in pools if pool.sources][:MOST_TARGETS]:
        best = pool.sources[int(pool.mean.argmax())]
        row = runs.get((pool.target, pool.tune, best, str(pool.seeds[0])))
        for path in _fetched(download, row, folder) if row else []:
            if match := FILE.fullmatch(path.name):
                kind, _, dice = match.groups()
                caption = f"{pool.target}, {kind} test case of its best source {best}: Dice {dice}"
                alt = f"Three slices, labels outlined in orange, the prediction in blue. {caption}"
                found.append(Picture(pool.target, alt, caption, embedded(path)))
    return tuple(found)


def embedded(path: Path) -> str:
    """An image file as a data URI, at most 640 pixels wide."""
    with Image.open(path) as image:
        image.thumbnail((WIDEST, WIDEST))
        stream = io.BytesIO()
        image.convert("RGB").save(stream, format="WEBP", quality=85)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _fetched(download: Download, row: Row, folder: Path) -> list[Path]:
    return sorted(download(row.run, "pictures", folder / row.run).glob("*.png"))


def _splits(row: Row) -> list[tuple[str, str]]:
    names: Mapping[str, float] = row.metrics
    return [(name, name.removeprefix("cases_").replace("_", " ")) for name in names if name.startswith("cases_")]
