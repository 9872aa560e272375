"""Every script of `examples/` runs, is short, and shows what its first lines say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.layouts import smollm2_directory

ROOT = Path(__file__).parent.parent.parent
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
OF_A_REAL_MODEL = ("steer_a_direction",)


def run(script: Path, **environment: str) -> str:
    threads = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env=os.environ | threads | environment,
        timeout=900,
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    return finished.stdout


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_a_script_is_short_and_says_how_it_is_run(script: Path) -> None:
    lines = script.read_text().splitlines()
    assert len(lines) <= 30 and f"python examples/{script.name}" in "\n".join(lines[:4])


@pytest.mark.slow
def test_a_located_feature_makes_checks_and_a_random_one_does_not() -> None:
    counts = {
        line.split(":")[0].strip(): int(line.split(":")[1].split()[0])
        for line in run(ROOT / "examples" / "clamp_a_feature.py").splitlines()
    }
    assert counts["located"] > 3 * max(counts["untouched"], counts["random"])


def test_borrowed_moments_close_the_gap() -> None:
    lines = run(ROOT / "examples" / "borrow_the_moments.py").splitlines()
    right = {line.split(":")[0].strip(): float(line.split(":")[1].split()[0]) for line in lines[:3]}
    assert right["base"] < 0.4 and right["thinking"] > 0.9 and right["base, borrowed moments"] > 0.9


@pytest.mark.real_model
def test_the_scripts_on_a_real_model_run() -> None:
    directory = str(smollm2_directory())
    for name in OF_A_REAL_MODEL:
        lines = run(ROOT / "examples" / f"{name}.py", SMOLLM2=directory).splitlines()
        written = {line.split(":")[0].strip() for line in lines}
        assert written == {"untouched", "Spanish", "random"} and len(set(lines)) == len(lines)


def test_every_script_is_run_here() -> None:
    assert {script.stem for script in SCRIPTS} == {"clamp_a_feature", "borrow_the_moments", *OF_A_REAL_MODEL}
