"""Commands run in forks of a process that has imported what they import, which takes longer than most of them do.

`python tests/warm_python.py` reads one request a line from standard input: module, arguments, environment, working
directory, and the files of standard output and error. It forks, runs the module as `python -m` does, and answers with
the exit code.
"""

import json
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Thread

import psutil


class WarmPython:
    """The process that forks; started with the first command.

    Args:
        folder: Working directory of the commands, whose packages they import.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._server: subprocess.Popen[str] | None = None

    def run(
        self, module: str, arguments: Sequence[str], env: Mapping[str, str], *, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a module with arguments, as `python -m`, in another working directory if one is given, and wait."""
        if self._server is None:
            command = [sys.executable, str(Path(__file__).resolve())]
            self._server = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=self._folder, env=dict(env)
            )
        with tempfile.TemporaryDirectory(prefix="warm_") as folder:
            out, err = Path(folder) / "out", Path(folder) / "err"
            request = {
                "module": module,
                "arguments": list(arguments),
                "env": dict(env),
                "cwd": str(cwd or self._folder),
                "out": str(out),
                "err": str(err),
            }
            assert self._server.stdin is not None
            assert self._server.stdout is not None
            self._server.stdin.write(json.dumps(request) + "\n")
            self._server.stdin.flush()
            answer = self._server.stdout.readline()
            if not answer:
                raise RuntimeError("the process that runs commands has ended")
            texts = (path.read_text(encoding="utf-8", errors="backslashreplace") for path in (out, err))
            return subprocess.CompletedProcess([module, *arguments], int(answer), *texts)

    def kill(self) -> None:
        """Kill the command that runs, if any; `run` then returns in the thread that waits for it."""
        for child in psutil.Process(self._server.pid).children() if self._server else ():
            child.kill()

    def stop(self) -> None:
        """End the process."""
        if self._server is not None:
            assert self._server.stdin is not None
            self._server.stdin.close()
            self._server.wait()


class WarmSubprocess:
    """What the code under test uses of the module `subprocess`, for `[sys.executable, "-m", module, ...]`."""

    def __init__(self, warm: WarmPython) -> None:
        self._warm = warm

    def run(self, command: Sequence[str], *, cwd: Path, **settings: bool) -> subprocess.CompletedProcess[str]:
        done = self._warm.run(command[2], command[3:], os.environ, cwd=cwd)
        if settings.get("check"):
            done.check_returncode()
        return done

    def Popen(self, command: Sequence[str], *, cwd: Path, **files: object) -> "WarmPopen":
        return WarmPopen(self._warm, command, cwd)


class WarmPopen:
    """A command that runs beside its caller."""

    def __init__(self, warm: WarmPython, command: Sequence[str], cwd: Path) -> None:
        self._warm = warm
        self._done: list[int] = []
        self._thread = Thread(target=self._run, args=(command[2], command[3:], dict(os.environ), cwd))
        self._thread.start()

    def _run(self, module: str, arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self._done.append(self._warm.run(module, arguments, env, cwd=cwd).returncode)

    def poll(self) -> int | None:
        return self._done[0] if self._done else None

    def kill(self) -> None:
        self._warm.kill()

    def wait(self) -> int:
        self._thread.join()
        return self._done[0]


def _serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_run(request))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(request: dict) -> int:
    """Run the module in this fork; returns its exit code."""
    for descriptor, name in ((1, "out"), (2, "err")):
        file = os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = [request["module"], *request["arguments"]]
    code = 0
    try:
        runpy.run_module(request["module"], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    _end()
    return code


def _end() -> None:
    """What Python does at its end: threads, exit functions, buffers."""
    import atexit
    import threading

    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()


if __name__ == "__main__":
    sys.path[0] = str(Path.cwd())
    import mlflow  # noqa: F401
    import monai.networks.nets  # noqa: F401
    import pandas  # noqa: F401
    import scipy.stats  # noqa: F401

    import analysis.evaluation.correlate
    import analysis.report.files  # noqa: F401
    import benchmark.orchestration.pipeline
    import benchmark.ranking.ranker
    import benchmark.training.monai  # noqa: F401
    from benchmark.jobs.keys import code_digest

    code_digest(tuple(f"benchmark.{command}" for command in ("prepare", "pretrain", "truth", "score")))  # is kept
    _serve()
