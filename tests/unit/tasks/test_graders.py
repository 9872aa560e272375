"""Processes that compare answers: deadlines, reuse, forks, ends."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from reasonmech.errors import ReasonmechError
from reasonmech.tasks.questions import grader
from reasonmech.tasks.questions import graders as module
from reasonmech.tasks.questions.graders import Graders, graders

FIVE = {"do": "compare", "gold": "5", "answer": "5"}
HANGING = {"do": "compare", "gold": "5", "answer": "9^{9^{9^9}}"}


@pytest.fixture
def pool():
    made = Graders(2)
    yield made
    made.close()


def children_of(pool):
    return [process._popen.pid for process in pool._processes]


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_nothing_is_started_before_it_is_needed_and_processes_are_used_again(pool):
    assert children_of(pool) == []
    assert pool.ask([], seconds=5) == [] and children_of(pool) == []
    assert pool.ask([FIVE], seconds=5) == [{"outcome": "right"}]
    first = children_of(pool)
    assert pool.ask([{**FIVE, "answer": "6"}], seconds=5) == [{"outcome": "wrong"}]
    assert children_of(pool) == first and len(first) == 1


def test_a_comparison_that_hangs_is_killed_and_stops_nothing(pool):
    begun = time.monotonic()
    jobs = [FIVE, HANGING, {**FIVE, "answer": "6"}]
    assert pool.ask(jobs, seconds=0.5) == [{"outcome": "right"}, None, {"outcome": "wrong"}]
    assert time.monotonic() - begun < 60
    again = time.monotonic()
    assert pool.ask([HANGING], seconds=0.5) == [None]  # it is known to hang
    assert time.monotonic() - again < 0.2


def test_equal_jobs_are_done_once_and_replies_stand_in_order(pool):
    jobs = [{**FIVE, "answer": str(i % 7)} for i in range(50)]
    replies = pool.ask(jobs, seconds=5)
    assert [reply["outcome"] for reply in replies] == ["right" if i % 7 == 5 else "wrong" for i in range(50)]


def test_many_jobs_take_several_processes(pool):
    jobs = [{"do": "parsable", "gold": str(i)} for i in range(100)]
    assert all(reply["parsable"] for reply in pool.ask(jobs, seconds=5))
    assert len(children_of(pool)) == 2


def test_a_process_that_was_killed_is_replaced(pool):
    pool.ask([FIVE], seconds=5)
    (pid,) = children_of(pool)
    os.kill(pid, signal.SIGKILL)
    assert pool.ask([{**FIVE, "answer": "7"}], seconds=5)[0] in (None, {"outcome": "wrong"})
    assert pool.ask([{**FIVE, "answer": "8"}], seconds=5) == [{"outcome": "wrong"}]


def test_an_interruption_leaves_no_reply_for_the_next_question(pool, monkeypatch):
    pool.ask([FIVE], seconds=5)

    def interrupted(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module._Process, "receive", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pool.ask([{**FIVE, "answer": "6"}], seconds=5)
    assert children_of(pool) == []
    assert pool.ask([{**FIVE, "answer": "5.0"}], seconds=5) == [{"outcome": "right"}]


def test_threads_wait_for_each_other(pool):
    replies = {}

    def ask(i):
        replies[i] = pool.ask([{**FIVE, "answer": str(i)}], seconds=5)[0]["outcome"]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(3, 8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == {i: "right" if i == 5 else "wrong" for i in range(3, 8)}


def test_a_forked_process_makes_its_own():
    graders().ask([FIVE], seconds=5)
    ours = children_of(graders())
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        reply = graders().ask([{**FIVE, "answer": "05"}], seconds=5)
        os.write(write, repr((reply, children_of(graders()) == ours)).encode())
        graders().close()
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    assert os.read(read, 1000).decode() == "([{'outcome': 'right'}], False)"
    os.close(read)
    assert children_of(graders()) == ours and all(map(is_alive, ours))


def ends(pid):
    waited = time.monotonic()
    while is_alive(pid) and time.monotonic() - waited < 20:
        time.sleep(0.05)
    return not is_alive(pid)


def test_they_end_with_a_process_that_is_killed():
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:  # pragma: no cover - another process
        graders().ask([FIVE], seconds=5)
        os.write(write, str(children_of(graders())[0]).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(pid, 0)
    assert ends(int(os.read(read, 100)))
    os.close(read)
    os.close(write)


@pytest.mark.slow
def test_they_end_with_the_interpreter():
    code = (
        "import os\nfrom reasonmech.tasks.questions.graders import graders\n"
        f"graders().ask([{FIVE!r}], seconds=5)\n"
        "print([p._popen.pid for p in graders()._processes], flush=True)\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ends(json.loads(shown.stdout)[0])


def test_one_that_cannot_start_says_why(pool, monkeypatch, tmp_path):
    broken = tmp_path / "broken.py"
    broken.write_text("import no_such_module_of_ours")
    monkeypatch.setattr(module, "PROGRAM", str(broken))
    with pytest.raises(ReasonmechError, match="no_such_module_of_ours"):
        pool.ask([FIVE], seconds=5)
    assert children_of(pool) == []


def test_what_the_program_is_asked_is_answered_without_a_process():
    assert grader.compare({"gold": "1/2", "answer": "0.5"}) == {"outcome": "right"}
    assert grader.parsable({"gold": "???"}) == {"parsable": False}
