"""A sweep that is killed goes on where it was, and ends with the numbers of one that nobody disturbed, bit
for bit."""

from __future__ import annotations

import signal
import textwrap
import time
from pathlib import Path

import pandas as pd
import pytest

from reasonmech.causal.sweeps.table import SweepTable
from reasonmech.errors import OutputError
from tests.forks import Fork

PATIENCE = 500  # seconds for a process to get going, on a machine that does other work
N_SHARDS = 3  # that are finished when the kill comes

TEXTS = textwrap.dedent(
    """
    import os, sys, time
    from dataclasses import dataclass
    from pathlib import Path
    import torch
    from importlib import import_module
    from reasonmech.causal.sweeps.configurations import grid
    from reasonmech.causal.sweeps.trials import TextTrials
    from reasonmech.interventions import Direction, prompt
    from reasonmech.testing import tiny_host

    def wait():  # stand still in the middle of a shard, once so many are finished
        finished = len(list(Path(sys.argv[1] + ".partial/shards").glob("*.parquet")))
        if finished == int(os.environ.get("STAND_STILL_AFTER", "-1")):
            time.sleep(600)

    @dataclass(frozen=True)
    class First:
        name = "first"
        unit = "logits"

        def continuations(self, host, n_texts):
            return [()] * n_texts

        def value(self, reading):
            wait()
            return reading.logits[:, 3]

    host = tiny_host()
    texts = [" ".join(f"w{(3 * i + j) % 40}" for j in range(2 + i % 5)) for i in range(12)]
    vectors = torch.randn(6, 32, generator=torch.Generator().manual_seed(0))
    axes = {f"v{i}": Direction.along(vector, f"resid_post.{i % 3}") for i, vector in enumerate(vectors)}
    settings = grid(axes, "clamp", amounts=(1.0, 4.0), where={"last": prompt(start=-1), "all": prompt()})
    module = import_module("reasonmech.causal.sweeps.sweep")
    module.BATCHES_PER_SHARD = 1
    if __name__ == "__main__":
        trials = TextTrials(texts, batch_rows=16)
        module.sweep(host, trials, settings, metric=First(), out=sys.argv[1], progress=False)
    """
)

ROLLOUTS = textwrap.dedent(
    """
    import os, sys, time
    from dataclasses import dataclass
    from pathlib import Path
    import numpy as np
    import torch
    from reasonmech.causal.sweeps.rollouts import sweep_rollouts
    from reasonmech.causal.sweeps.configurations import grid
    from reasonmech.causal.sweeps.trials import RolloutTrials
    from reasonmech.interventions import Direction
    from reasonmech.runtime.decoding.decode import Decode
    from reasonmech.testing import tiny_host

    def wait():  # stand still in the middle of a shard, once so many are finished
        finished = len(list(Path(sys.argv[1] + ".partial/shards").glob("*.parquet")))
        if finished == int(os.environ.get("STAND_STILL_AFTER", "-1")):
            time.sleep(600)

    @dataclass(frozen=True)
    class Different:
        name = "different"
        unit = "tokens"

        def measure(self, rollouts):
            wait()
            return np.array([float(len(set(rollout.ids))) for rollout in rollouts])

    PROMPTS = ["w1 w2 . w3", "w5", "w9 w1 ."]
    host = tiny_host()
    v = Direction.along(torch.randn(32, generator=torch.Generator().manual_seed(0)), "resid_post.1")
    if __name__ == "__main__":
        sweep_rollouts(
            host,
            RolloutTrials(PROMPTS, Decode(max_new_tokens=8, temperature=1.0), seeds=(0, 1)),
            grid({"v": v}, "steer", amounts=(1.0, 2.0, 4.0)),
            metric=Different(), out=sys.argv[1], progress=False,
        )
    """
)


@pytest.mark.parametrize(
    "script", [pytest.param(TEXTS, id="texts"), pytest.param(ROLLOUTS, id="rollouts", marks=pytest.mark.slow)]
)
def test_kill_9_then_resume_is_the_uninterrupted_table(tmp_path: Path, script: str) -> None:
    (tmp_path / "go.py").write_text(script)
    undisturbed = Fork(tmp_path, "go.py", "whole")
    shards = tmp_path / "cut.partial" / "shards"
    killed = Fork(tmp_path, "go.py", "cut", STAND_STILL_AFTER=str(N_SHARDS))
    deadline = time.monotonic() + PATIENCE
    while len(list(shards.glob("*.parquet"))) < N_SHARDS and killed.poll() is None:
        assert time.monotonic() < deadline, f"{N_SHARDS} shards took more than {PATIENCE} s"
        time.sleep(0.05)
    assert killed.poll() is None, killed.said()
    assert killed.kill(signal.SIGKILL) == -signal.SIGKILL
    undisturbed.finish()

    assert not (tmp_path / "cut").exists()
    assert len(list(shards.glob("*.parquet"))) == N_SHARDS
    with pytest.raises(OutputError, match=f"not finished: {N_SHARDS} shards"):
        SweepTable.load(tmp_path / "cut")
    Fork(tmp_path, "go.py", "cut").finish()

    assert not (tmp_path / "cut.partial").exists()
    whole, cut = SweepTable.load(tmp_path / "whole"), SweepTable.load(tmp_path / "cut")
    assert whole.table.query("configuration != 'clean'")["effect"].abs().max() > 0, "nothing was changed"
    pd.testing.assert_frame_equal(whole.table, cut.table, check_exact=True)
    assert (tmp_path / "whole/table.parquet").read_bytes() == (tmp_path / "cut/table.parquet").read_bytes()
