"""The table of checkpoints in docs/how-to/own-checkpoints.md: each row is written, inspected, and ranked."""

import json
import re
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate

from benchmark.ranking import source_timing
from benchmark.sources.readers.recognise import recognise, recognise_pool
from tests.checkpoint_layouts import LAYOUTS, NOT_READ, small_image

DOCS = Path(__file__).parents[2] / "docs" / "how-to" / "own-checkpoints.md"
EQUAL = 1e-6  # of the output's standard deviation, in float64, so that rounding hides nothing


def slug(layout) -> str:
    return re.sub(r"\W+", "_", layout.title).strip("_").lower()


RANKED = {f"MONAI {name}" for name in ("DynUNet", "UNet", "UNETR", "SwinUNETR", "SegResNet")}  # by test_rank


def place(layout, folder: Path) -> Path:
    """The folder of a layout; those that another test ranks are not in the pool."""
    return folder / ("others" if layout.title in RANKED else "pool") / slug(layout)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder with all layouts, and the network of each that is read."""
    folder = tmp_path_factory.mktemp("layouts")
    networks = {}
    for layout in LAYOUTS:
        place(layout, folder).mkdir(parents=True)
        networks[layout.title] = layout.write(place(layout, folder))
    return folder, networks


@pytest.mark.parametrize("layout", [item for item in LAYOUTS if item.result != NOT_READ], ids=slug)
def test_a_layout_computes_what_its_network_computes(layout, written):
    folder, networks = written
    model = instantiate(recognise(place(layout, folder)), _convert_="all").open()
    assert any(layout.says in note for note in model.notes) or not layout.says, model.notes
    image = small_image(model).double()
    assert model.head == layout.head
    tap = model.arch.taps[-1]
    computed = output(model.network(), image, "" if layout.head else tap)
    expected = output(networks[layout.title], image.squeeze(2) if model.arch.dims == 2 else image,
                      "" if layout.head else tap)  # fmt: skip
    expected = expected.unsqueeze(2) if model.arch.dims == 2 else expected
    assert computed.shape == expected.shape
    assert float((computed - expected).abs().max()) <= EQUAL * float(expected.std())


def output(network, image, tap):
    """The logits of a network, or the output of one of its modules."""
    maps = []
    if tap:
        network.get_submodule(tap).register_forward_hook(lambda *call: maps.append(call[2].clone()))
    with torch.no_grad():
        logits = network.double()(image)
    logits = logits[0] if isinstance(logits, list | tuple) else logits
    return maps[0] if tap else logits


@pytest.mark.parametrize("layout", LAYOUTS, ids=slug)
def test_inspect_shows_a_layout_or_refuses_it_in_one_line(layout, written, command_line, tmp_path):
    done = command_line("inspect", f"path={place(layout, written[0])}", f"output_dir={tmp_path}/outputs")
    assert done.code == (2 if layout.result == NOT_READ else 0), done.err
    if layout.result == NOT_READ:
        assert re.fullmatch(rf"error: .*{re.escape(layout.says)}.*\n", done.err), done.err
    else:
        assert layout.says in " ".join(done.out.split())


def test_rank_scores_the_layouts_and_lists_the_others(written, prepared, command_line, tmp_path, monkeypatch):
    timed = source_timing.forecast_of
    # neither estimate of time is compared, and both together take most of the time
    monkeypatch.setattr("benchmark.ranking.ranker.step_seconds", lambda *_, **__: 1.0)
    monkeypatch.setattr(source_timing, "forecast_of", lambda ranker, nodes, **named: timed(ranker, {}, **named))
    pool = written[0] / "pool"
    done = command_line(
        "rank", f"task={prepared / 'synthetic' / 'synthetic_ball'}", f"source={pool}", "metric=[logme]", "draws=2",
        "draws_of_points=1", "stream.cases=2", "stream.batch=1", f"output_dir={tmp_path}/outputs", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db",
    )  # fmt: skip
    assert done.code == 0, done.err
    result = json.loads((tmp_path / "outputs/rank/synthetic_ball/ranking.json").read_text(encoding="utf-8"))
    places = {name: Path(node["path"]) for name, node in recognise_pool(pool).nodes.items()}
    scored = {places[row["source"]].relative_to(pool).parts[0] for row in result["ranking"] if row["logme"] is not None}
    reasons = {places[name] if name in places else pool / name: reason for name, reason in result["skipped"].items()}
    ranked = [layout for layout in LAYOUTS if place(layout, written[0]).parent == pool]
    assert scored == {slug(layout) for layout in ranked if layout.result != NOT_READ}
    assert len(ranked) >= 31
    assert len(scored) >= 24
    for layout in LAYOUTS:
        if layout.result == NOT_READ:
            lines = [
                reason for path, reason in reasons.items() if slug(layout) in path.parts or slug(layout) in str(path)
            ]
            assert any(layout.says in line for line in lines), (layout.title, lines)


def test_the_docs_list_each_layout():
    rows = [f"| {layout.title} | {layout.result} | {quoted(layout.says)} |" for layout in LAYOUTS]
    table = "\n".join(("| what you have | result | what the note or the line says |", "|---|---|---|", *rows))
    assert table in DOCS.read_text(encoding="utf-8"), f"the table must be:\n{table}"


def quoted(text: str) -> str:
    return f"*{text}*" if text else ""
