"""The program of a grading process: math-verify, and scorers of reasoning-gym, one line of JSON per answer.

It is started as a script and imports nothing of this package. A job that takes more computing time than it
may is ended with the whole process by the kernel, which no loop in C can put off; whoever started it starts
another one.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import select
import signal
import sys
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, BinaryIO, Final

PROGRAM: Final = __file__
READY: Final = b"ready\n"
LOOK_AROUND: Final = 5.0  # seconds between two looks at whether the parent is still there
MEMORY: Final = 4 * 2**30  # bytes of addresses: a power of powers is stopped before the machine is full
Job = Mapping[str, Any]


def parse_maths(text: str) -> list[Any]:
    """What math-verify makes of an answer: an expression of SymPy, and the text; empty for no maths."""
    from math_verify import LatexExtractionConfig, parse

    settings = [LatexExtractionConfig(boxed_match_priority=0)]
    parsed = parse(
        rf"\boxed{{{text}}}",
        settings,
        fallback_mode="no_fallback",
        parsing_timeout=0,
        raise_on_error=False,
    )
    return parsed if any(not isinstance(part, str) for part in parsed) else []


def compare(job: Job) -> Job:
    """Whether an answer is the gold one: right, wrong, or unparsed where the answer is no maths."""
    from math_verify import verify

    answer = parse_maths(job["answer"])
    if not answer:
        return {"outcome": "unparsed"}
    equal = verify(parse_maths(job["gold"]), answer, timeout_seconds=None, raise_on_error=False)
    return {"outcome": "right" if equal else "wrong"}


def parsable(job: Job) -> Job:
    """Whether an answer can be read as mathematics."""
    return {"parsable": bool(parse_maths(job["gold"]))}


def score(job: Job) -> Job:
    """What a generator of reasoning-gym thinks of an answer to one of its problems, which it makes again."""
    problems = _problems_of(job["generator"], json.dumps(job["settings"], sort_keys=True), job["seed"])
    problem = problems[job["index"]]
    if problem["question"] != job["question"]:
        return {"changed": True}
    try:
        return {"score": float(problems.score_answer(answer=job["answer"], entry=problem))}
    except Exception as error:  # a scorer that cannot read what it is given
        return {"unread": f"{type(error).__name__}: {error}"}


@cache
def _problems_of(generator: str, settings: str, seed: int) -> Any:
    import reasoning_gym  # pyright: ignore[reportMissingImports] - an extra

    return reasoning_gym.create_dataset(generator, seed=seed, **json.loads(settings))


DO: Final[Mapping[str, Callable[[Job], Job]]] = {"compare": compare, "parsable": parsable, "score": score}


def main() -> None:
    """Answer one line after the other until there are no more, or nobody to read them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, whose end is ours
    parent = os.getppid()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    import math_verify  # noqa: F401 - its import is no job's computing time

    nowhere = os.open(os.devnull, os.O_WRONLY)
    answers.write(READY)
    for descriptor in (1, 2):  # whatever libraries print is not ours
        os.dup2(nowhere, descriptor)
    logging.disable(logging.CRITICAL)
    _limit_memory()
    _serve(sys.stdin.buffer, answers, parent)


def _limit_memory() -> None:
    if sys.platform == "linux":  # elsewhere the limit is not kept
        most = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(
            resource.RLIMIT_AS, (MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most), most)
        )


def _serve(jobs: BinaryIO, answers: BinaryIO, parent: int) -> None:
    while True:
        while not select.select([jobs], [], [], LOOK_AROUND)[0]:
            if os.getppid() != parent:
                return
        line = jobs.readline()
        if not line.endswith(b"\n"):
            return
        job = json.loads(line)
        signal.setitimer(signal.ITIMER_PROF, job["seconds"])
        try:
            reply = DO[job["do"]](job)
        except (MemoryError, RecursionError, OverflowError) as error:
            reply = {"gave_up": type(error).__name__}
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(json.dumps(reply).encode() + b"\n")


if __name__ == "__main__":
    main()
