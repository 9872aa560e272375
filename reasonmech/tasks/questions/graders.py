"""Graders: processes that compare answers, each with a deadline, so that one that hangs ends nothing else."""

from __future__ import annotations

import atexit
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final, final

from reasonmech.errors import ReasonmechError
from reasonmech.tasks.questions.grader import PROGRAM, READY

MOST: Final = 4  # processes
PER_PROCESS: Final = 32  # jobs that warrant another one
START: Final = 120.0  # seconds that a process may take to import what it needs
WALL: Final = 20.0  # seconds of the clock for each of computing time, on a machine that others use
KEPT: Final = 100_000  # answers that are remembered
Reply = Mapping[str, Any]


@final
class Graders:
    """Processes of the Python that runs, started when first needed and used again; they end with it.

    The process that made them is the only one that uses them: one that was forked from it makes its own.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._processes: list[_Process] = []
        self._known: dict[str, Reply | None] = {}
        self._owner = os.getpid()
        atexit.register(self.close)

    def __repr__(self) -> str:
        return f"Graders({len(self._processes)} of at most {self._most} processes)"

    def ask(self, jobs: Sequence[Mapping[str, Any]], *, seconds: float) -> list[Reply | None]:
        """The reply to each job; None where it did not come to an end within its computing time or memory.

        Raises:
            ReasonmechError: a process cannot be started at all.
        """
        lines = [json.dumps({**job, "seconds": seconds}, sort_keys=True) for job in jobs]
        with self._lock:
            new = [line for line in dict.fromkeys(lines) if line not in self._known]
            if len(self._known) + len(new) > KEPT:
                self._known.clear()
                new = list(dict.fromkeys(lines))
            for line, reply in self._run(new, seconds):
                self._known[line] = reply
            return [self._known[line] for line in lines]

    def close(self) -> None:
        """End the processes; the next question starts them again."""
        if os.getpid() == self._owner:
            for process in self._processes:
                process.end()
        self._processes = []

    def _run(self, lines: Sequence[str], seconds: float) -> Iterator[tuple[str, Reply | None]]:
        waiting, busy = deque(lines), dict[_Process, tuple[str, float]]()
        try:
            with selectors.DefaultSelector() as selector:
                while waiting or busy:
                    while waiting and (process := self._idle(busy, len(waiting))):
                        line = waiting.popleft()
                        busy[process] = (line, process.send(line, seconds))
                        selector.register(process.replies, selectors.EVENT_READ, process)
                    first = min(deadline for _, deadline in busy.values())
                    ready = [key.data for key, _ in selector.select(max(first - time.monotonic(), 0.0))]
                    late = [p for p, (_, deadline) in busy.items() if deadline <= time.monotonic()]
                    for process in dict.fromkeys([*ready, *late]):
                        reply = process.receive() if process in ready else None
                        if reply is _UNFINISHED:
                            continue
                        selector.unregister(process.replies)
                        line, _ = busy.pop(process)
                        if reply is None:
                            self._drop(process)
                        yield line, None if reply is None or "gave_up" in reply else reply
        finally:
            for process in busy:  # an interruption: what they would still say answers another question
                self._drop(process)

    def _idle(self, busy: Mapping[_Process, object], waiting: int) -> _Process | None:
        for process in self._processes:
            if process not in busy:
                return process
        wanted = min(self._most, 1 + (len(busy) + waiting) // PER_PROCESS)
        if len(self._processes) >= wanted:
            return None
        self._processes.append(_Process())
        return self._processes[-1]

    def _drop(self, process: _Process) -> None:
        process.end()
        self._processes.remove(process)


_UNFINISHED: Final[Reply] = {}  # a part of a line


@final
class _Process:
    """One grading process: a job at a time."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", PROGRAM]
        pipe = subprocess.PIPE
        self._popen = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe)
        assert self._popen.stdin and self._popen.stdout and self._popen.stderr, "pipes were asked for"
        self._jobs, self.replies, self._complaints = self._popen.stdin, self._popen.stdout, self._popen.stderr
        self._is_ready, self._read = False, b""

    def send(self, line: str, seconds: float) -> float:
        """Hand a job over; the time of `time.monotonic` by which it must be answered."""
        with suppress(BrokenPipeError):  # it ended meanwhile, which is noticed when it is listened to
            self._jobs.write(line.encode() + b"\n")
            self._jobs.flush()
        return time.monotonic() + seconds * WALL + (0.0 if self._is_ready else START)

    def receive(self) -> Reply | None:
        """What it replied; `_UNFINISHED` where it has not yet, None where it ended without a reply."""
        part = os.read(self.replies.fileno(), 65536)
        if not part:
            if not self._is_ready:
                raise self._failed()
            return None
        self._read += part
        if not self._is_ready and READY in self._read:
            self._is_ready, self._read = True, self._read.replace(READY, b"", 1)
        if not self._read.endswith(b"\n") or not self._is_ready:
            return _UNFINISHED
        line, self._read = self._read, b""
        return json.loads(line)

    def end(self) -> None:
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._jobs, self.replies, self._complaints):
            with suppress(BrokenPipeError):  # a job that was never read
                pipe.close()

    def _failed(self) -> ReasonmechError:
        last = self._complaints.read().decode(errors="replace").strip().splitlines()
        return ReasonmechError(
            f"the process that compares answers cannot be started: {last[-1] if last else 'it says nothing'}",
            allowed=f"a Python with math-verify at {sys.executable}",
            do="pip install math-verify",
        )


def graders() -> Graders:
    """The grading processes of this process."""
    return _graders_of(os.getpid())


@cache
def _graders_of(process: int) -> Graders:
    count = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    return Graders(min(MOST, count))
