"""Another process that carries out stages of a run beside the first, and that process's own main."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Final, TextIO, final

from reasonmech.experiments.agenda import Agenda
from reasonmech.experiments.config import Experiment
from reasonmech.experiments.stage_job import StageJob
from reasonmech.experiments.store import RunStore
from reasonmech.organisms import load_pair
from reasonmech.resumable import ResumableDirectory
from reasonmech.runtime.threads import threads_of

LAST_WORDS: Final = 600  # characters of its standard error in a warning


@final
class HelperProcess:
    """A process with the pair of its own, and a thread here that hands it stage after stage of an agenda.

    A stage that it does not finish is given back with a warning, and it is handed no other: the first process
    carries that stage out, and what is wrong with it is raised there.
    """

    def __init__(self, experiment: Experiment, out: Path, jobs: dict[str, StageJob], agenda: Agenda) -> None:
        self._agenda, self._closing = agenda, False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        paths = os.pathsep.join(path for path in sys.path if path)
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import main; main()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | {"PYTHONPATH": paths},
        )
        order = {
            "experiment": json.loads(experiment.canonical()),
            "out": str(out),
            "inputs": {kind: job.inputs for kind, job in jobs.items()},
        }
        self._thread = Thread(target=self._hand_out, args=(order,), daemon=True)
        self._thread.start()

    def _hand_out(self, order: dict[str, object]) -> None:
        self._say(json.dumps(order))
        if self._reply() != "ready":
            self._warn("before its first stage")
            return
        while (kind := self._agenda.take()) is not None:
            self._say(kind)
            if self._reply() != kind:
                self._agenda.give_back(kind)
                self._warn(f"in stage {kind}, which the first process carries out")
                return
            self._agenda.finish(kind)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            print(line, file=self._process.stdin, flush=True)
        except OSError:  # it has ended: its reply is missing, which is where that is noticed
            return

    def _reply(self) -> str:
        """The next line that it says; empty when it has ended."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _warn(self, where: str) -> None:
        if self._closing:
            return
        code = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read().decode(errors="replace").strip()[-LAST_WORDS:]
        warnings.warn(
            f"a second process of the run ended with code {code} {where}; its last words: {words or 'none'}",
            stacklevel=2,
        )

    def close(self) -> None:
        """End the process, and what it is at; what it has finished stays."""
        self._closing = True
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            assert stream is not None
            with suppress(OSError):  # what nobody read any more
                stream.close()


def main() -> None:
    """Carry out the stages that standard input names, line by line; end with standard input.

    The first line is a JSON object: the experiment, where the run is to be, the inputs' hash of each stage.
    """
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no reply
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the first process's to heed
    order = json.loads(sys.stdin.readline())
    kinds: Queue[str] = Queue()
    Thread(target=_read, args=(kinds,), daemon=True).start()
    experiment = Experiment.model_validate(order["experiment"])
    pair = load_pair(experiment.pair)
    jobs = StageJob.all_of(experiment, pair)
    if {kind: job.inputs for kind, job in jobs.items()} != order["inputs"]:
        raise SystemExit("the pair, the code or the packages are not those of the first process")
    store = RunStore(ResumableDirectory(Path(order["out"]), {}, kind="run"))  # whose lock the first one holds
    with threads_of(pair):
        _reply(replies, "ready")
        while True:
            kind = kinds.get()
            jobs[kind].carry_out(store, progress=False)
            _reply(replies, kind)


def _read(kinds: Queue[str]) -> None:
    """Queue what standard input names. When it ends the first process has, however it did: so does this."""
    for line in sys.stdin:
        kinds.put(line.strip())
    os._exit(0)


def _reply(replies: TextIO, line: str) -> None:
    print(line, file=replies, flush=True)
