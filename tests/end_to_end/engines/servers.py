"""Real servers on loopback, for tests: PostgreSQL, MLflow over it, a one-node Slurm. Each is stopped by its pid."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.conftest import find_program

PATIENCE = 120.0  # seconds that a server may take to answer on a busy machine

# as docs/how-to/scaling.md has them: a pool of connections for as many requests as the server answers at once (40), and
# no job runners, which serve features that nobody here uses, with seven processes
SERVER_SETTINGS = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE": "20",
    "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": "60",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def kill_tree(pid: int, number: int = signal.SIGKILL) -> None:
    """Kill a process and all that it started; the grandchildren that left its session, too."""
    try:
        parent = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    family = [parent, *parent.children(recursive=True)]
    for process in family:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=30)


def wait_until(answers, what: str) -> None:
    """Wait for a server, and say which one did not come."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            if answers():
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"{what} did not answer within {PATIENCE:g} s")


@dataclass
class Postgres:
    """A PostgreSQL cluster of its own below /tmp, since its owner may not be root and must reach it."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="ccfv-postgres-", dir="/tmp")))
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def user(self) -> str | None:
        return "postgres" if os.geteuid() == 0 else None  # it refuses to run as root

    @property
    def uri(self) -> str:
        return f"postgresql+psycopg2://mlflow@127.0.0.1:{self.port}/mlflow"

    def make(self) -> "Postgres":
        if self.user:
            shutil.chown(self.folder, self.user)
        data = self.folder / "data"
        self._call("initdb", "-D", str(data), "-A", "trust", "-U", "mlflow", "--no-sync")
        self.start()
        self._call("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "mlflow", "mlflow")
        return self

    def start(self) -> None:
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)  # a killed one leaves it
        program = find_program("postgres") or str(Path(find_program("initdb") or "").parent / "postgres")
        self.process = subprocess.Popen(
            [program, "-D", str(self.folder / "data"), "-p", str(self.port), "-k", str(self.folder),
             "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=self.user, start_new_session=True,
        )  # fmt: skip
        ready = [find_program("pg_isready") or "pg_isready", "-h", "127.0.0.1", "-p", str(self.port)]
        wait_until(lambda: subprocess.run(ready, capture_output=True, check=False).returncode == 0, "PostgreSQL")

    def _call(self, program: str, *arguments: str) -> None:
        found = find_program(program) or str(Path(find_program("initdb") or "").parent / program)
        done = subprocess.run(
            [found, *arguments], capture_output=True, text=True, check=False, user=self.user, cwd="/tmp"
        )
        assert done.returncode == 0, done.stderr

    def kill(self) -> None:
        if self.process:
            kill_tree(self.process.pid)
            self.process.wait()

    def remove(self) -> None:
        if self.process:
            kill_tree(self.process.pid, signal.SIGINT)
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass
class MlflowServer:
    """An MLflow server with artifacts in a folder."""

    store: str
    artifacts: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen | None = None

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "MlflowServer":
        command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.store,
                   "--artifacts-destination", self.artifacts.as_uri(), "--host", "127.0.0.1",
                   "--port", str(self.port), "--workers", "1"]  # fmt: skip
        settings = os.environ | SERVER_SETTINGS
        with (self.artifacts.parent / "mlflow-server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=settings, start_new_session=True)
        wait_until(self._healthy, "the MLflow server")
        return self

    def _healthy(self) -> bool:
        with urllib.request.urlopen(f"{self.uri}/health", timeout=5) as answer:
            return bool(answer.status == 200)

    def kill(self) -> None:
        if self.process:
            kill_tree(self.process.pid)
            self.process.wait()


@dataclass
class Slurm:
    """A one-node Slurm with munge, run by root."""

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="ccfv-slurm-", dir="/tmp")))
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> "Slurm":
        self.folder.chmod(0o755)
        self._munge()
        host = socket.gethostname()
        slurmd = find_program("slurmd") or "slurmd"
        node = subprocess.run([slurmd, "-C"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
        (self.folder / "slurm.conf").write_text(
            "\n".join([
                "ClusterName=loopback", f"SlurmctldHost={host}(127.0.0.1)", "SlurmUser=root", "AuthType=auth/munge",
                f"SlurmctldPort={free_port()}", f"SlurmdPort={free_port()}",
                f"StateSaveLocation={self.folder / 'state'}", f"SlurmdSpoolDir={self.folder / 'spool'}",
                f"SlurmctldPidFile={self.folder / 'slurmctld.pid'}", f"SlurmdPidFile={self.folder / 'slurmd.pid'}",
                "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "MpiDefault=none", "ReturnToService=2",
                "JobAcctGatherType=jobacct_gather/none", "AccountingStorageType=accounting_storage/none",
                "SelectType=select/cons_tres", "SelectTypeParameters=CR_Core_Memory",
                f"{node} NodeAddr=127.0.0.1 State=UNKNOWN",
                f"PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP", "",
            ]),
            encoding="utf-8",
        )  # fmt: skip
        for name in ("slurmctld", "slurmd"):
            self._run([find_program(name) or name, "-D", "-f", str(self.folder / "slurm.conf")])
        wait_until(self._idle, "Slurm's node")
        return self

    def _munge(self) -> None:
        run = Path("/run/munge")
        run.mkdir(exist_ok=True)
        shutil.chown(run, "munge", "munge")
        if not (run / "munge.socket.2").exists() or not any(p.name() == "munged" for p in psutil.process_iter()):
            self._run([find_program("munged") or "munged", "-F", "--force"], user="munge")
            wait_until((run / "munge.socket.2").exists, "munge")

    def _run(self, command: list[str], user: str | None = None) -> None:
        with (self.folder / "servers.log").open("ab") as log:
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log, user=user, start_new_session=True))

    def _idle(self) -> bool:
        command = [find_program("sinfo") or "sinfo", "-h", "-o", "%t"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | self.environment)
        return done.stdout.strip() == "idle"

    def stop(self) -> None:
        for process in reversed(self.processes):
            kill_tree(process.pid, signal.SIGTERM)
            kill_tree(process.pid)
            process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
