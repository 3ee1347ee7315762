"""A SLURM cluster of one node, this machine: for tests, as root, with GPUs that are none.

It needs neither systemd nor cgroups nor a configured SLURM, and installs nothing.
"""

import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from pathlib import Path

# The one place that SLURM reads without being told: what a job starts forgets SLURM_CONF.
SETTINGS = Path("/etc/slurm")
FIRST_LINE = "# Made by the tests of collapse-atlas, which remove it."
CLUSTER = "collapse_tests"
NODE = "collapse-tests"
# Not those that SLURM and databases use unless told otherwise.
PORTS = {"slurmctld": 26817, "slurmd": 26818, "slurmdbd": 26819, "mariadbd": 26820}
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "setpriv")
ACCOUNTING = ("slurmdbd", "mariadbd")


def reason_against(accounting=False):
    """Return why no cluster can be started here, or None."""
    if os.geteuid() != 0:
        return "only root can start SLURM"
    if _foreign():
        return f"{_foreign()} belongs to another cluster"
    wanted = PROGRAMS + (ACCOUNTING if accounting else ())
    missing = [name for name in wanted if not shutil.which(name)]
    return f"not installed: {', '.join(missing)}" if missing else None


class Node:
    """The cluster, started in a folder; as a context manager it is stopped at the end.

    Parameters
    ----------
    folder
        For state and logs.
    gpus
        GPUs that it hands out. Each is an alias of /dev/null.
    accounting
        Whether finished jobs are kept in a database, for ``sacct``.
    """

    def __init__(self, folder, gpus=2, accounting=False):
        self.folder, self.gpus, self.accounting = Path(folder), gpus, accounting
        self._daemons = {}
        self._lock = None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        """Start the daemons; return once the node takes jobs.

        A machine has one such cluster at a time: this waits until another one is stopped.
        """
        reason = reason_against(self.accounting)
        if reason:
            raise RuntimeError(reason)
        self._lock = (Path(tempfile.gettempdir()) / f"{CLUSTER}.lock").open("a")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        # Of tests that were killed.
        self._end_orphans()
        for name in ("munge", "log", "state", "spool"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        try:
            self._write_settings()
            self._start_daemons()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        """End jobs and daemons, and remove the settings."""
        if "slurmctld" in self._daemons:
            subprocess.run(["scancel", f"--user={os.geteuid()}"], capture_output=True)
        for name, process in reversed(self._daemons.items()):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            print(f"{name} ended with {process.returncode}")
        self._daemons.clear()
        self._end_orphans()
        if not _foreign():
            for name in ("slurm.conf", "gres.conf", "slurmdbd.conf"):
                (SETTINGS / name).unlink(missing_ok=True)
        if self._lock:
            self._lock.close()

    def orphans(self):
        """Return the processes of this cluster's jobs, which without cgroups may outlive them."""
        return [pid for pid, told in processes() if f"SLURM_CLUSTER_NAME={CLUSTER}" in told]

    def queue(self):
        """Return the number, state and comment of each job; those that ended stay for minutes."""
        lines = self._ask("squeue", "--states=all", "--noheader", "--format=%A|%T|%k").splitlines()
        return [tuple(line.split("|")) for line in lines]

    def control(self, *words):
        """Tell the cluster something by ``scontrol``; return what it says."""
        return self._ask("scontrol", *words)

    def _ask(self, *words):
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout

    def _write_settings(self):
        SETTINGS.mkdir(exist_ok=True)
        gpus = [self.folder / f"gpu{index}" for index in range(self.gpus)]
        for gpu in gpus:
            if not gpu.exists():
                os.mknod(gpu, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        socket_file = self.folder / "munge/socket"
        kept = "AccountingStorageType=accounting_storage/none"
        if self.accounting:
            kept = f"""\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={PORTS["slurmdbd"]}
AccountingStoragePass={socket_file}
AccountingStoreFlags=job_comment"""
        (SETTINGS / "slurm.conf").write_text(f"""\
{FIRST_LINE}
ClusterName={CLUSTER}
SlurmctldHost={socket.gethostname().split(".")[0]}(127.0.0.1)
SlurmctldPort={PORTS["slurmctld"]}
SlurmdPort={PORTS["slurmd"]}
SlurmUser=root
# A job that is requeued waits until its old credential has expired.
AuthInfo=socket={socket_file},cred_expire=20
StateSaveLocation={self.folder}/state
SlurmdSpoolDir={self.folder}/spool
SlurmctldPidFile={self.folder}/slurmctld.pid
SlurmdPidFile={self.folder}/slurmd.pid
SlurmctldLogFile={self.folder}/log/slurmctld.log
SlurmdLogFile={self.folder}/log/slurmd.log
# Without cgroups.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
ReturnToService=2
KillWait=5
GresTypes=gpu
{kept}
# More than the machine may have: what jobs ask for is measured for real ones.
SlurmdParameters=config_overrides
NodeName={NODE} NodeHostname={socket.gethostname().split(".")[0]} NodeAddr=127.0.0.1 \
CPUs=4 RealMemory=256000 Gres=gpu:{self.gpus}
PartitionName=main Nodes={NODE} Default=YES
""")
        lines = [f"NodeName={NODE} Name=gpu File={gpu}" for gpu in gpus]
        (SETTINGS / "gres.conf").write_text("\n".join([FIRST_LINE, *lines, ""]))

    def _start_daemons(self):
        key = self.folder / "munge/key"
        if not key.exists():
            key.touch(0o600)
            key.write_bytes(os.urandom(1024))
        files = {"key-file": key, "socket": self.folder / "munge/socket"}
        files |= {f"{each}-file": self.folder / f"munge/{each}" for each in ("pid", "seed", "log")}
        # --force: where the folder is under /tmp, that anyone can write to.
        words = [f"--{name}={path}" for name, path in files.items()]
        self._daemon("munged", "--foreground", "--force", *words)
        self._until("munge", f"--socket={files['socket']}", "--no-input")
        if self.accounting:
            self._start_accounting(files["socket"])
        self._daemon("slurmctld", "-D")
        self._until("scontrol", "ping", says="UP")
        self._daemon("slurmd", "-D", "-N", NODE)
        self._until("sinfo", "--noheader", "--format=%T", says="idle")

    def _start_accounting(self, munge):
        data, server = self.folder / "database", self.folder / "database.socket"
        words = ["--no-defaults", "--user=root", f"--datadir={data}"]
        if not data.exists():
            subprocess.run(
                ["mariadb-install-db", *words, "--auth-root-authentication-method=normal"],
                check=True,
                capture_output=True,
            )
        self._daemon(
            "mariadbd", *words, f"--socket={server}", "--bind-address=127.0.0.1",
            f"--port={PORTS['mariadbd']}", "--innodb-lock-wait-timeout=900",
        )  # fmt: skip
        client = ("mariadb", f"--socket={server}", "--user=root", "--execute")
        self._until(*client, "SELECT 1")
        for host in ("localhost", "127.0.0.1"):
            user = f"slurm@'{host}'"
            self._ask(*client, f"CREATE USER IF NOT EXISTS {user} IDENTIFIED BY 'slurm'")
            self._ask(*client, f"GRANT ALL ON *.* TO {user}")
        settings = SETTINGS / "slurmdbd.conf"
        settings.touch(0o600)
        settings.write_text(f"""\
{FIRST_LINE}
AuthType=auth/munge
AuthInfo=socket={munge}
DbdHost=localhost
DbdPort={PORTS["slurmdbd"]}
SlurmUser=root
PidFile={self.folder}/slurmdbd.pid
LogFile={self.folder}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={PORTS["mariadbd"]}
StorageUser=slurm
StoragePass=slurm
""")
        self._daemon("slurmdbd", "-D")
        self._until("sacctmgr", "--noheader", "show", "cluster")
        self._until("sacctmgr", "--immediate", "add", "cluster", CLUSTER)

    def _daemon(self, name, *words):
        # Ends with this process, should that be killed.
        with (self.folder / f"log/{name}.out").open("a") as out:
            self._daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", name, *words],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    def _until(self, *words, says="", seconds=60):
        deadline = time.monotonic() + seconds
        while True:
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode == 0 and says in done.stdout:
                return
            if time.monotonic() > deadline:
                ends = [path.read_text()[-2000:] for path in (self.folder / "log").iterdir()]
                raise RuntimeError("\n".join([" ".join(words), done.stdout, done.stderr, *ends]))
            time.sleep(0.2)

    def _end_orphans(self):
        for pid in self.orphans():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def processes():
    """Return the number and the environment, as it began, of each process that may be looked at."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            text = path.read_bytes()
        except OSError:
            continue
        found.append((int(path.parent.name), text.decode(errors="replace").split("\0")))
    return found


def _foreign():
    """Return the first of SLURM's settings here that the tests did not write, or None."""
    for path in (SETTINGS / name for name in ("slurm.conf", "gres.conf", "slurmdbd.conf")):
        if path.exists() and path.read_text().partition("\n")[0] != FIRST_LINE:
            return path
    return None
