"""rm.judge: verdicts of pairs whose truth is known, one look per registration, and a kill costs nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import reasonmech as rm
from reasonmech.claims import Terms, judging, load_judgement
from reasonmech.errors import DataError, OutputError, UnknownNameError
from reasonmech.hosts import ModelPair
from reasonmech.tasks import tasks
from reasonmech.tasks.chain import CHAIN, Chain

FEW = N = 59  # the fewest that are judged: a pair of no difference is NEITHER on them


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user who never looked at anything."""
    monkeypatch.setenv("REASONMECH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_pair_is_judged_once_and_a_second_look_says_so(tmp_path: Path, monkeypatch) -> None:
    judgement = rm.judge("tiny-aa", n=N, out=tmp_path / "out", progress=False)
    assert judgement.verdict == "NEITHER"
    assert judgement.finding("integrity").status == "SUPPORTED"
    assert judgement.exploratory == ()
    recorded = json.loads((tmp_path / "out" / "judgement.json").read_text())
    assert recorded["verdict"] == judgement.verdict and "tiny-aa" in recorded["sentence"]
    table = pd.read_parquet(tmp_path / "out" / "evidence.parquet")
    assert set(table.problem) == {f"chain/confirmation/0/{i}" for i in range(N)}
    assert load_judgement(tmp_path / "out").to_json() == judgement.to_json()

    with monkeypatch.context() as patched:
        patched.setattr(judging, "measure_evidence", _not_again)
        for out in (tmp_path / "out", None, tmp_path / "copy"):
            assert rm.judge("tiny-aa", n=N, out=out, progress=False).to_json() == judgement.to_json()
        assert (tmp_path / "copy" / "evidence.parquet").is_file()
        with pytest.raises(OutputError, match="exists already"):
            rm.judge("tiny-aa", n=N + 1, out=tmp_path / "out", progress=False)

    second = rm.judge("tiny-aa", n=N, terms=Terms(seed=1), progress=False)
    assert len(second.exploratory) == 1 and f"n = {N}, seed 0" in second.exploratory[0]
    assert "Exploratory" in rm.claims.first_sentence(second)
    assert load_judgement(next((tmp_path / "cache" / "judgements").glob("tiny-aa-*"))).pair == "tiny-aa"


def _not_again(*_: object, **__: object) -> None:
    raise AssertionError("measured again")


def test_when_is_judged_when(tmp_path: Path) -> None:
    judgement = rm.judge("tiny-when", n=120, progress=False)
    assert judgement.verdict == "WHEN", judgement
    assert judgement.finding("C10").status == "REFUTED" and judgement.finding("C9").status == "SUPPORTED"
    assert judgement.finding("sharpening").status == judgement.finding("format").status == "REFUTED"


GO = "import sys; from reasonmech.cli.app import main; sys.argv = ['reasonmech', *sys.argv[1:]]; main()"


@pytest.mark.slow
def test_a_kill_costs_nothing(tmp_path: Path) -> None:
    def start(out: str, cache: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", GO, "judge", "tiny-aa", "--n", str(N), "--quiet", "--out", out],
            cwd=tmp_path,
            env={**os.environ, "REASONMECH_CACHE": str(tmp_path / cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    process = start("killed", "one")
    partial = tmp_path / "killed.partial"
    while not list(partial.glob("sampled.*.jsonl")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    kept = {path.name: path.stat().st_mtime_ns for path in partial.glob("*.jsonl")}
    assert kept and not (tmp_path / "killed").exists()

    again = start("killed", "one")
    output, errors = again.communicate()
    assert again.returncode == 0, errors
    assert "tiny-aa: NEITHER" in output and "Methods." in output and "Exploratory" not in output
    resumed = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("*.jsonl")}
    assert {name: resumed[name] for name in kept} == kept  # what was finished was not run again

    whole = start("whole", "two")
    assert whole.communicate()[0].split() == output.split()
    for name in ("judgement.json", "record.json"):
        assert (tmp_path / "killed" / name).read_text() == (tmp_path / "whole" / name).read_text()
    evidence = [pd.read_parquet(tmp_path / out / "evidence.parquet") for out in ("killed", "whole")]
    assert evidence[0].equals(evidence[1])


@pytest.mark.slow
def test_a_kill_of_a_full_judgement_costs_one_run(tmp_path: Path) -> None:
    """In the middle of the draws of other moments, of which the first are kept."""
    small = "import reasonmech.claims.measuring.moments as m; m.DRAWS, m._TOGETHER = 4, 1; "

    def start(out: str, cache: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", small + GO, "judge", "tiny-when", "--full", "--n", str(N), "--quiet",
             "--split", "test", "--out", out],
            cwd=tmp_path,
            env={**os.environ, "REASONMECH_CACHE": str(tmp_path / cache)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip

    process, partial = start("killed", "one"), tmp_path / "killed.partial"
    while not list(partial.glob("greedy.other-moments.*.npz")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    kept = {path.name: path.stat().st_mtime_ns for path in partial.glob("greedy.*")}
    assert len(kept) > 20 and not (tmp_path / "killed").exists()
    again, whole = start("killed", "one"), start("whole", "two")
    outputs = [process.communicate() for process in (again, whole)]
    assert again.returncode == whole.returncode == 0, outputs
    assert outputs[0][0] == outputs[1][0] and "oracle-free" in outputs[0][0]
    resumed = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("greedy.*")}
    assert {name: resumed[name] for name in kept} == kept
    evidence = [pd.read_parquet(tmp_path / out / "evidence.parquet") for out in ("killed", "whole")]
    assert evidence[0].equals(evidence[1]) and "arm/oracle-free" in set(evidence[0].condition)


@pytest.fixture
def pair() -> ModelPair:
    return rm.load_pair("tiny-aa")


def test_too_few_problems_are_refused_with_the_number_needed(pair, ledger) -> None:
    with pytest.raises(DataError, match="at least 59") as refused:
        rm.judge(pair, n=FEW - 1)
    assert "n=300" in str(refused.value)
    assert not (ledger / "judgements").exists()  # nothing was opened


def test_a_pair_without_a_task_is_refused(pair) -> None:
    with pytest.raises(DataError, match="has no task"):
        rm.judge(replace(pair, task=None))


class _Untold(Chain):
    """A chain world whose kinds cannot be told."""

    def kinds(self, tokenizer):
        raise DataError("every sentence begins with 'I'")


class _Kindless(Chain):
    """A chain world that knows one kind of sentence: other."""

    def kinds(self, tokenizer):
        kinds = super().kinds(tokenizer)
        return type(kinds)({}, tokenizer)


@pytest.mark.parametrize(
    ("task", "happened"),
    [(_Untold(CHAIN), "every sentence begins with 'I'"), (_Kindless(CHAIN), "no kind of sentence")],
)
def test_a_task_without_kinds_is_refused_and_says_why(pair, task, happened, monkeypatch) -> None:
    monkeypatch.setitem(tasks._entries, "kindless", task)
    with pytest.raises(DataError, match=happened):
        rm.judge(pair, terms=Terms(task="kindless"))


def test_an_unknown_split_or_task_is_named(pair) -> None:
    with pytest.raises(UnknownNameError, match="confirmatoin"):
        rm.judge(pair, terms=Terms(split="confirmatoin"))  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnknownNameError, match="chian"):
        rm.judge(pair, terms=Terms(task="chian"))


ZOO = {
    "tiny-when": "WHEN", "tiny-swap": "WHEN", "tiny-how": "HOW", "tiny-both": "BOTH", "tiny-stealth": "BOTH",
    "tiny-sham": "NEITHER", "tiny-surface": "NEITHER", "tiny-rotated": "NEITHER", "tiny-aa": "NEITHER",
    "tiny-format": "FORMAT", "tiny-suppressed": "HOW", "tiny-suppressed-both": "NEITHER",
    "tiny-prompted": "WHEN", "tiny-lucky": "NEITHER", "tiny-length": "NEITHER", "tiny-leak": "HOW",
    "tiny-temperature": "SHARPENED", "tiny-temperature-cold": "SHARPENED",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("name", "truth"), ZOO.items())
def test_no_pair_of_the_zoo_gets_a_wrong_verdict(name, truth) -> None:
    judgement = rm.judge(name, progress=False)
    assert judgement.verdict in (truth, "INCONCLUSIVE"), judgement
