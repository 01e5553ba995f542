"""The command line's layer: bad input in one line and exit code 2, a programming error with its traceback."""

import logging
import re
import sys
from multiprocessing import get_context

import pytest
import torch
from joblib.externals.loky import ProcessPoolExecutor
from omegaconf import OmegaConf

from benchmark.errors import InputError
from benchmark.jobs.cli import BAD_INPUT, CONF, DIGESTS, names_in, prepare_config, resolved, run_command, run_job
from benchmark.storage.digest import files_digest


@pytest.fixture
def run(place, monkeypatch, capfd, quiet_process):
    """Runs a task as a command with some of its command line, and gives its exit code and standard error."""
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")

    def command(task, *overrides, name="correlate"):
        monkeypatch.setattr(sys, "argv", [name, *place.overrides, *overrides])
        capfd.readouterr()
        code = 0
        with quiet_process():
            try:
                run_command(name, task)
            except SystemExit as end:
                code = end.code
        return code, capfd.readouterr()

    return command


def _fails(error):
    def task(cfg):
        raise error

    return task


BAD = {
    "input": (_fails(InputError("file x must be whole, got half")), [], "error: file x must be whole, got half\n"),
    "two lines": (_fails(InputError("one\n  two\n")), [], "error: one; two\n"),
    "file": (
        _fails(FileNotFoundError(2, "No such file or directory", "here/x")),
        [],
        "error: cannot read or write here/x: No such file or directory\n",
    ),
    "disk": (
        _fails(OSError(28, "No space left on device")),
        [],
        "error: cannot read or write a file: No space left on device\n",
    ),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_exit_code_2(run, case):
    task, overrides, line = BAD[case]
    code, shown = run(task, *overrides)
    assert code == BAD_INPUT == 2
    assert shown.err == line
    assert "Traceback" not in shown.out


OVERRIDES = {
    "unknown setting": ("resample=3", "resample"),
    "unknown choice": ("device=gpu", "device/gpu"),
    "unknown group": ("devices=cpu", "devices"),
    "no assignment": ("resamples", "resamples"),
    "no grammar": ("threads=[", "error: threads=[ must be an override in Hydra's grammar, got: "),
    "unknown suite": ("suite=nothing", "suite/nothing"),
    "no choice": ("device=null", "error: device must be the name of a config in conf/device, got null\n"),
    "a number": ("+hydra/launcher=3", "hydra/launcher must be the name of a config in conf/hydra/launcher, got 3\n"),
    "no target": ("target=null", "error: target must be the name of a config in conf/task, got null\n"),
    "a path of a source": ("source=/no/net.pt", "got the path /no/net.pt; to use a path, set source=file, nnunet, "),
    "a path of a target": (f"target={CONF}", f"got the path {CONF}; to use a path, set target=msd or nnunet, and "),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", OVERRIDES)
def test_an_unknown_name_in_an_override_is_told(run, case):
    override, named = OVERRIDES[case]
    code, shown = run(lambda cfg: None, override)
    assert code == 2
    assert shown.err.startswith("error: ")
    assert named in shown.err
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err + shown.out


def test_a_programming_error_keeps_its_traceback(run):
    with pytest.raises(ZeroDivisionError):
        run(lambda cfg: 1 // 0)
    with pytest.raises(KeyError):
        run(_fails(KeyError("x")))
    with pytest.raises(ConnectionError):  # not about a file
        run(_fails(ConnectionError("nobody answers")))


def test_a_finished_command_is_exit_code_0_and_sets_torch_s_threads(run):
    seen = []
    before = torch.get_num_threads()
    try:
        code, shown = run(lambda cfg: seen.append((cfg.threads, torch.get_num_threads())), "threads=2")
    finally:
        torch.set_num_threads(before)
    assert code == 0
    assert shown.err == ""
    assert seen == [(2, 2)]


def test_a_failed_job_is_in_its_log(run, place):
    _, shown = run(_fails(InputError("file x must be whole")))
    assert "must be whole" not in shown.out, "the error is printed twice"
    with pytest.raises(ZeroDivisionError):
        run(lambda cfg: 1 // 0)
    texts = [path.read_text(encoding="utf-8") for path in (place.folder / "outputs").rglob("correlate.log")]
    assert len(texts) == 2
    assert any("file x must be whole" in text for text in texts)
    assert any("ZeroDivisionError" in text and "Traceback" in text for text in texts)


def test_a_command_is_called_by_its_name(run, place):
    run(lambda cfg: logging.getLogger("x").info("hello"))
    assert [path.name for path in (place.folder / "outputs" / "hydra").iterdir()] == ["correlate"]


def test_jobs_share_the_digests_of_files(run, place, monkeypatch):
    path = place.folder / "case"
    path.write_text("voxels", encoding="utf-8")
    monkeypatch.setattr("benchmark.storage.digest_memory.RACY_NS", -1)
    seen = []
    run(lambda cfg: seen.append(files_digest([path])))
    assert (place.folder / "outputs" / DIGESTS).is_file()
    monkeypatch.setattr("benchmark.storage.digest.file_digest", lambda path: pytest.fail(f"read {path}"))
    run(lambda cfg: seen.append(files_digest([path])))
    assert seen[0] == seen[1]


def test_every_task_can_be_a_target():
    from hydra.core.config_store import ConfigStore

    from benchmark.jobs.cli import CONF

    prepare_config()
    made = {name.removesuffix(".yaml") for name in ConfigStore.instance().list("target")}
    assert made == {path.stem for path in (CONF / "task").glob("[!_]*.yaml")}


def test_help_lists_every_source_and_the_bench_takes_a_list_of_them(run, place):
    code, shown = run(lambda cfg: None, "--help", name="pretrain")
    assert code == 0
    (line,) = [line for line in shown.out.splitlines() if line.startswith("source: ")]
    assert set(names_in("source")) <= set(line.removeprefix("source: ").split(", "))
    assert {"liver_unet", "spine_unet", "msd_lung_unetr", "synthetic_drop", "scratch"} <= set(names_in("source"))
    chosen = []
    run(lambda cfg: chosen.append(list(cfg.suite.sources)), "suite.sources=[scratch,lung_unet_short]", name="bench")
    run(lambda cfg: chosen.append(list(cfg.suite.sources)[-2:]), "+suite.pretrained.synthetic_drop=null", name="bench")
    assert chosen == [["scratch", "lung_unet_short"], ["scratch_resunet", "synthetic_drop"]]


def test_a_sweep_takes_several_sources_of_suites(run):
    seen = []
    names = ["lung_unet", "msd_colon_unet", "synthetic_ball", "scratch"]
    sweep = (f"source={','.join(names)}", "hydra/launcher=basic", "-m")
    run(lambda cfg: seen.append((cfg.source.name, cfg.source.arch.width)), *sweep, name="pretrain")
    assert seen == list(zip(names, [16, 64, 4, 8], strict=True))


def test_a_folder_of_own_configs_adds_sources(run, tmp_path):
    files = {
        "source/mine.yaml": "defaults: [_pool, _self_]\nname: mine\nlength: scratch\n",
        "suite/own.yaml": "pretrained: {mine: null, own: {task: liver, arch: unet, width: 4, lengths: {long: 2}}}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    seen = []
    sweep = ("source=mine,own", "hydra/launcher=basic", "-m", f"--config-dir={tmp_path}")
    run(lambda cfg: seen.append(cfg.source), *sweep, name="pretrain")
    assert [(source.name, source.arch.name, source.arch.width, source.budget.steps) for source in seen] == [
        ("mine", "dynunet", 8, 0),
        ("own", "unet", 4, 2),
    ]


def test_a_repeated_source_is_the_source_with_another_seed(run, tmp_path):
    files = {
        "source/mine.yaml": "defaults: [_pool, _self_]\nname: mine\nlength: short\n",
        "suite/own.yaml": "pretrained: {mine: null, synthetic_drop: null, own: {task: liver, seed: 5}}\n"
        "repeated: {sources: [mine, synthetic_drop, own], seeds: [1, 2]}\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    seen = []
    chosen = ["own", "own_seed1", "own_seed2", "mine_seed2", "synthetic_drop_seed2"]
    sweep = (f"source={','.join(chosen)}", "hydra/launcher=basic", "-m", f"--config-dir={tmp_path}")
    run(lambda cfg: seen.append(cfg.source), *sweep, name="pretrain")
    assert [(source.name, source.seed, source.length) for source in seen] == [
        ("own", 5, "long"),
        ("own_seed1", 1, "long"),
        ("own_seed2", 2, "long"),
        ("mine_seed2", 2, "short"),
        ("synthetic_drop_seed2", 2, "long"),
    ]
    assert seen[-1].arch.width == 4


SUITES = {
    "a name of another suite": (
        "pretrained: {liver_unet: {task: liver}}",
        r"source liver_unet is already defined",
    ),
    "a name of conf/source": (
        "pretrained: {scratch: {length: long}}",
        r"source scratch is already defined",
    ),
    "a list of sources": ("pretrained: [a, b]", r"pretrained must map names to settings, got \['a', 'b'\]"),
    "a suite that is a list": ("- a", r"a suite must be a mapping, got \['a'\]"),
    "no mapping": ("pretrained: {x: liver}", r"the settings of source x must be a mapping, got 'liver'"),
    "a name of a repeated source": (
        "pretrained: {x: {task: liver}, x_seed1: {task: lung}}\nrepeated: {sources: [x], seeds: [1]}",
        r"source x_seed1 is already defined .* choose another seed of x",
    ),
    "a list of repeated sources": ("repeated: [x]", r"repeated must be null or have the settings seeds and sources"),
    "no yaml": ("pretrained: {x: [", r"expected the node content"),
}


@pytest.mark.bad_input
@pytest.mark.parametrize("case", SUITES)
def test_a_suite_s_source_needs_settings_and_a_name_of_its_own(run, tmp_path, case):
    text, message = SUITES[case]
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "own.yaml").write_text(text, encoding="utf-8")
    code, shown = run(lambda cfg: None, "--config-dir", str(tmp_path))
    assert code == BAD_INPUT
    assert re.fullmatch(rf"error: .*own\.yaml.*{message}.*\n|error: .*{message}.*own\.yaml.*\n", shown.err)


def test_resolved_is_plain():
    node = OmegaConf.create({"a": {"b": 1}, "c": "${a.b}", "d": [1, "${c}"]})
    assert resolved(node) == {"a": {"b": 1}, "c": 1, "d": [1, 1]}
    assert type(resolved(node)) is dict
    assert resolved(3) == 3
    assert resolved(None) is None


def test_widths_double():
    prepare_config()
    assert list(OmegaConf.create({"a": "${doubling:8,4}"}).a) == [8, 16, 32, 64]


def _start_a_process(cfg):
    process = get_context("spawn").Process(target=abs, args=(-1,))  # as nnU-Net's planner does
    process.start()
    process.join()
    return process.exitcode


def test_a_job_in_a_joblib_worker_starts_processes(tmp_path):
    cfg = OmegaConf.create({"threads": 1, "output_dir": str(tmp_path), "time_limit": None, "stop_file": None})
    with ProcessPoolExecutor(1) as pool:
        assert pool.submit(run_job, _start_a_process, cfg).result() == 0
