"""A third-party package, installed as one, adds one of each thing without an edit here."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PLUGIN = Path(__file__).parent.parent / "plugin"


def test_a_plugin_adds_one_of_each(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    (wheel,) = WheelBuilder(str(PLUGIN)).build(directory=str(tmp_path), versions=["standard"])
    installed = tmp_path / "installed"
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--target",
        str(installed),
        wheel,
    ]
    subprocess.run(pip, check=True)
    process = subprocess.run(
        [sys.executable, str(PLUGIN / "use_it.py")],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    assert "every kind works" in process.stdout
