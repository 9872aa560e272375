"""Processes that are forked off one that has loaded the library, so that it is loaded once for all."""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Loads, and computes nothing: threads do not outlive a fork. The child is what `python go.py ...` would be.
_SERVER = """
import importlib, json, os, runpy, sys, traceback

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what is printed while loading is no answer
for name in sys.argv[1:]:
    importlib.import_module(name)
for line in sys.stdin:
    order = json.loads(line)
    if "pid" in order:
        pid, status = os.waitpid(order["pid"], 0 if order["wait"] else os.WNOHANG)
        answer = os.waitstatus_to_exitcode(status) if pid else None
    else:
        answer = os.fork()
    if answer != 0 or "pid" in order:
        print(json.dumps(answer), file=answers, flush=True)
        continue
    code = 1
    try:
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2)
        os.chdir(order["folder"])
        os.environ.update(order["environment"])
        sys.argv = order["arguments"]
        sys.path.insert(0, order["folder"])
        runpy.run_path(sys.argv[0], run_name="__main__")
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(code)
"""
_LOADED = (
    "reasonmech.experiments.run",
    "reasonmech.causal.sweeps.sweep",
    "reasonmech.causal.sweeps.rollouts",
    "reasonmech.runtime",
    "reasonmech.testing",
)


@functools.cache
def _server() -> subprocess.Popen[str]:
    """One for all files of a test process, and ended with it."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, *_LOADED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},  # forks of what computed may fork again
    )
    atexit.register(server.communicate)
    return server


def _ask(order: dict[str, Any]) -> int | None:
    server = _server()
    assert server.stdin is not None and server.stdout is not None
    server.stdin.write(json.dumps(order) + "\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


class Fork:
    """One process that runs a script in a folder, as if it had been started there."""

    def __init__(self, folder: Path, script: str, *arguments: str, **environment: str) -> None:
        self._log = folder / f"{len([*folder.glob('*.log')])}.log"
        order = {"folder": str(folder), "arguments": [script, *arguments], "log": str(self._log)}
        pid = _ask({**order, "environment": environment})
        assert pid is not None
        self._pid = pid
        self._code: int | None = None

    def poll(self, *, wait: bool = False) -> int | None:
        """Its exit code, negative after a signal; None while it runs."""
        if self._code is None:
            self._code = _ask({"pid": self._pid, "wait": wait})
        return self._code

    def kill(self, number: int) -> int | None:
        os.kill(self._pid, number)
        return self.poll(wait=True)

    def finish(self) -> str:
        """What it printed, once it has ended well."""
        told = self.said()
        assert self._code == 0, told
        return told

    def said(self) -> str:
        """What it printed and complained about, once it has ended."""
        self.poll(wait=True)
        return self._log.read_text()
