"""The shapes in the signatures are true: the laws again, with jaxtyping and beartype checking every call."""

import subprocess
import sys

import pytest

CHECKED = [
    "step",
    "runtime.decoding.noise",
    "runtime.decoding.decode",
    "runtime.decoding.batch",
    "runtime.decoding.host_decoder",
    "runtime.passes",
    "runtime.decoding.labelling",
    "interventions.edits",
    "interventions.target",
    "interventions.gates",
    "interventions.masks",
    "runtime.receipt.recorder",
    "interventions.hooks",
]
LAWS = ["tests/laws/test_whole_runs.py", "tests/laws/test_receipts.py"]
SCRIPT = """
import sys
import pytest
from jaxtyping import install_import_hook
with install_import_hook(sys.argv[1].split(), "beartype.beartype"):
    import reasonmech.runtime, reasonmech.interventions
    from reasonmech.runtime.decoding.noise import gumbel
try:
    gumbel(reasonmech.runtime.decoding.noise.torch.zeros(2, 2), None, 3)
    sys.exit("shapes are not checked")
except Exception as error:
    assert "Type-check error" in str(error), error
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""


@pytest.mark.slow  # every law of two files again
def test_shapes_are_true() -> None:
    names = " ".join(f"reasonmech.{name}" for name in CHECKED)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, names, *LAWS], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
