"""A run by two processes is the run of one; nothing of the second outlives the first."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from reasonmech.errors import ConfigError
from reasonmech.experiments import run
from reasonmech.organisms import load_pair

CONFIG = {
    "name": "shared",
    "pair": "tiny-when",
    "task": {"kind": "chain", "n": 2},
    "decode": {"max_new_tokens": 64, "batch_size": 8},
    "stages": [
        {"kind": "rollouts", "n": 3, "samples": 2, "study_samples": 2},
        {"kind": "judge", "n": 4},
    ],
}


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "shared.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


def test_two_workers_write_what_one_writes(
    config: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    one, two = (run(config, out=tmp_path / f"run-{n}" / "shared", workers=n, progress=False) for n in (1, 2))
    assert not [warning for warning in recwarn if "second process" in str(warning.message)]
    pd.testing.assert_frame_equal(one.results, two.results)
    assert sorted(one.missing.columns) == sorted(two.missing.columns) and len(one.missing) == len(two.missing)
    names = [sorted(str(path.relative_to(each.path)) for path in each.path.rglob("*")) for each in (one, two)]
    assert names[0] == names[1]


def test_a_stage_that_a_helper_cannot_do_is_done_here_and_said(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasonmech.experiments.helper_process.sys.executable", "/bin/false")
    with pytest.warns(UserWarning, match="a second process of the run ended with code 1"):
        finished = run(
            config, out=tmp_path / "out", overrides=["stages.judge.n=3"], workers=2, progress=False
        )
    assert {"rollouts", "judge"} == set(finished.record["stages"])


def test_workers_for_a_pair_in_hand_are_refused(config: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers=2 for a pair in hand"):
        run(config, pair=load_pair("tiny-when"), out=tmp_path / "out", workers=2)
    assert not (tmp_path / "out.partial").exists()


@pytest.mark.slow
def test_a_killed_run_leaves_no_helper(config: Path, tmp_path: Path) -> None:
    call = "import sys; from reasonmech.experiments import run; run(sys.argv[1], out=sys.argv[2], workers=2)"
    process = subprocess.Popen(
        [sys.executable, "-c", call, str(config), str(tmp_path / "out")], stderr=subprocess.DEVNULL
    )
    children: list[int] = []
    for _ in range(1200):
        listed = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout
        if children := [int(line) for line in listed.split()]:
            break
        time.sleep(0.1)
    assert children
    process.send_signal(signal.SIGKILL)
    process.wait()
    for _ in range(600):
        if not any(_is_alive(child) for child in children):
            break
        time.sleep(0.1)
    assert not any(_is_alive(child) for child in children)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
