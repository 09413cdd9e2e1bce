"""A Slurm of its own on loopback: one node, a controller and munge, for as long as tests need it."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "squeue")
CPUS = 4  # jobs of one CPU at a time, whatever the machine has

CONFIGURATION = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerParameters=sched_interval=2,batch_sched_delay=0
ReturnToService=2
BatchStartTimeout=1
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Say why no Slurm can run here; None if one can."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"needs {', '.join(missing)} (Debian's packages slurm-wlm and munge)"
    return None if os.getuid() == 0 else "needs root, as which slurmd starts jobs"


class Slurm:
    """The three processes, and what one asks them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        for name in ("state", "spool"):
            (folder / name).mkdir(parents=True)
        key = folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        self.configuration = folder / "slurm.conf"
        self.configuration.write_text(
            CONFIGURATION.format(
                host=socket.gethostname().partition(".")[0],
                user="root",
                folder=folder,
                controller_port=_free_port(),
                node_port=_free_port(),
                cpus=CPUS,
            )
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a user's commands need to find it."""
        return {"SLURM_CONF": str(self.configuration)}

    def start(self) -> None:
        self._start(
            "munged", "--foreground", "--force", f"--socket={self.folder}/munge.socket",
            f"--key-file={self.folder}/munge.key", f"--pid-file={self.folder}/munged.pid",
            f"--log-file={self.folder}/munged.log", f"--seed-file={self.folder}/munge.seed",
        )  # fmt: skip
        _wait_until(lambda: (self.folder / "munge.socket").exists())
        self._start("slurmctld", "-D")
        self._start("slurmd", "-D")
        _wait_until(lambda: "idle" in self.ask("sinfo", "--noheader", "--format=%T"))

    def stop(self) -> None:
        for process in reversed(self._processes):
            process.terminate()
            process.wait(30)

    def ask(self, *words: str) -> str:
        done = subprocess.run(
            words, env={**os.environ, **self.environment}, capture_output=True, text=True
        )
        return done.stdout.strip()

    def jobs(self, state: str = "running") -> list[str]:
        """The ids of the jobs in a state, those of an array each by its own."""
        return self.ask(
            "squeue", "--noheader", "--array", f"--states={state}", "--format=%i"
        ).split()

    def start_waiting_jobs(self) -> list[str]:
        """Start what is queued again at once, as Slurm does after two minutes; return their ids."""
        waiting = self.ask("squeue", "--noheader", "--array", "--states=pending", "--format=%i %r")
        held = [line.split()[0] for line in waiting.splitlines() if line.endswith("BeginTime")]
        if held:
            time.sleep(
                2
            )  # a job that starts in the second of its requeue is ended: its credential is revoked
        for job in held:
            self.ask("scontrol", "update", f"jobid={job}", "starttime=now")
        return held

    def lose_node(self) -> None:
        """Kill all that runs on the node, as a reboot does, and let it come back."""
        node = self._processes.pop()
        for process in [node.pid, *self._of_jobs()]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        node.wait()
        self._start("slurmd", "-D", "-b")  # as after a boot: what ran there is no more

    def _of_jobs(self) -> list[int]:
        """The processes that jobs have on the node, whoever has adopted them."""
        mine = f"SLURM_CONF={self.configuration}".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                environment = (process / "environ").read_bytes().split(b"\0")
                is_job = any(v.startswith(b"SLURM_JOB_ID=") for v in environment)
                is_keeper = (process / "comm").read_text().strip() == "slurmstepd"
                if mine in environment and (is_job or is_keeper):
                    found.append(int(process.name))
        return found

    def _start(self, *words: str) -> None:
        with open(self.folder / f"{words[0]}.out", "wb") as out:
            process = subprocess.Popen(
                words, env={**os.environ, **self.environment}, stdin=subprocess.DEVNULL,
                stdout=out, stderr=subprocess.STDOUT, cwd="/", start_new_session=True,
            )  # fmt: skip
        self._processes.append(process)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_until(condition, seconds: float = 60.0) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "Slurm does not get ready"
        time.sleep(0.1)
