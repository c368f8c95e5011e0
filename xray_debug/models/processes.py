"""Trainings in processes of their own: several side by side, or one shared by several devices and machines.

    python -m xray_debug.models.processes FOLDER...

trains what job.write_begun left in each FOLDER, one after the other, and says how far it is in lines of JSON. Nothing
is unpickled. Lightning's DDP starts its further processes by running the same command again, which is why this is a
module of its own: the command that a person typed holds the run's lock and is not to run twice.

A process ends when its standard input does, so that none outlives the one that started it, however that ended.

One machine: `devices` processes, started by Lightning. Several (`nodes`): the run must be inside a SLURM allocation of
that many nodes (`sbatch --nodes=N --ntasks-per-node=DEVICES`, the script calls xray-debug once, without srun); each
training is then started with `srun`, one task for each device, and Lightning reads ranks and addresses from SLURM's
variables. The run folder must be on a file system that all nodes share.
"""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from xray_debug.config import TrainConfig
from xray_debug.models.job import TrainingError, read_job

Tell = Callable[[int, int], None]


def train_folder(folder: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Trains what write_begun left in `folder`, in this process."""
    from xray_debug.models.one import train_here

    job, key, how = read_job(folder)
    data = job.held.checked(job.classes)
    train_here(job.model(), data, job.config, folder, job.seed, key, how, progress, job.repair)


# ---------------------------------------------------------------- the process that starts others


def launcher(config: TrainConfig) -> list[str]:
    """What goes before the command of a training on several nodes; nothing for one.

    Raises:
        TrainingError: several nodes without SLURM.
    """
    if config.nodes == 1:
        return []
    if "SLURM_JOB_ID" not in os.environ or shutil.which("srun") is None:
        raise TrainingError(
            f"train.nodes: {config.nodes} nodes need a SLURM allocation of as many; start the run in one with sbatch"
        )
    tasks = 1 if config.devices == "auto" else config.devices
    return ["srun", f"--nodes={config.nodes}", f"--ntasks-per-node={tasks}", "--kill-on-bad-exit=1"]


def train_apart(shares: Sequence[dict[int, Path]], tell: Tell, before: Sequence[str] = ()) -> None:
    """One process for each share, {number: folder}, all at the same time; `tell(number, epochs done)`.

    Raises:
        TrainingError: the sentence of the first that failed; the others are stopped, as they are by an interruption.
    """
    news: queue.Queue = queue.Queue()
    children: list[_Child] = []
    try:
        for share in shares:
            children.append(_Child(share, news, before))
        running = len(children)
        while running:
            child, message = news.get()
            if message is None:
                running -= 1
                child.finish()
            else:
                tell(child.numbers[message["job"]], message["epochs"])
    finally:
        for child in children:
            child.stop()


class _Child:
    """A process that trains a share, and the thread that hears it."""

    def __init__(self, share: dict[int, Path], news: queue.Queue, before: Sequence[str]):
        self.numbers, self.error = list(share), ""
        folders = [str(folder) for folder in share.values()]
        threads = str(read_job(next(iter(share.values())))[2].threads)
        package = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        self.words = tempfile.TemporaryFile()  # noqa: SIM115  closed in stop
        self.process = subprocess.Popen(
            [*before, sys.executable, "-m", "xray_debug.models.processes", *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.words,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads},
        )
        self.hearing = threading.Thread(target=self._hear, args=(news,), daemon=True)
        self.hearing.start()

    def _hear(self, news: queue.Queue) -> None:
        for line in self.process.stdout:
            try:
                message = json.loads(line)
            except ValueError:  # a library's word
                continue
            if "error" in message:
                self.error = self.error or message["error"]
            elif "epochs" in message:
                news.put((self, message))
        news.put((self, None))

    def finish(self) -> None:
        """After its last word: TrainingError where it failed."""
        code = self.process.wait()
        if code and not self.error:
            self.words.seek(0)
            lines = self.words.read().decode(errors="replace").strip().splitlines()
            self.error = f"a training process ended with status {code}: {lines[-1] if lines else 'it said nothing'}"
        if self.error:
            raise TrainingError(self.error)

    def stop(self) -> None:
        """Ends it if it runs still, and waits for that."""
        self.process.stdin.close()  # ends the processes that it has started, too
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.hearing.join()
        self.process.stdout.close()
        self.words.close()


# ---------------------------------------------------------------- the process that is started


def _end_with_the_input() -> None:
    while os.read(0, 4096):
        pass
    os._exit(1)


def main(folders: Sequence[str]) -> None:
    threading.Thread(target=_end_with_the_input, daemon=True).start()
    channel = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print goes elsewhere, and so does what further processes say

    def say(**message) -> None:
        channel.write(json.dumps(message) + "\n")

    for number, folder in enumerate(folders):
        try:
            train_folder(Path(folder), lambda done, _, number=number: say(job=number, epochs=done))
        except (TrainingError, ValueError, OSError) as error:
            named = isinstance(error, OSError) and error.filename and error.strerror
            say(error=f"{error.filename}: {error.strerror}" if named else str(error))
            raise SystemExit(1) from error
    channel.close()


if __name__ == "__main__":
    main(sys.argv[1:])
