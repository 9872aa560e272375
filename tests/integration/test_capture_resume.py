"""A capture that is killed at random moments ends as the one that nobody disturbed, bit for bit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.forks import Fork

# Forks a child per attempt; a store that is finished before it is hit does not count, and another one is
# begun. Prints what happened as JSON.
SCRIPT = """
import json, os, random, signal, sys, time
from pathlib import Path

from reasonmech.labels import Labels
from reasonmech.runtime import Activations, Keep, capture
from reasonmech.testing import tiny_host

folder, kills, host = Path(sys.argv[1]), int(sys.argv[2]), tiny_host()
draw = random.Random(int(sys.argv[3]))
texts = [" ".join(f"w{(7 * i + 3 * j) % 50}" for j in range(20 + (5 * i) % 13)) for i in range(600)]

def store(name):
    keep = Keep(shard_tokens=750)
    return capture(host, texts, ["resid_post.2"], out=folder / name, keep=keep, progress=False)

began = time.monotonic()
whole = store("whole")
took = time.monotonic() - began
seen, n_stores, done = [], 0, []
while len(seen) < kills or not (folder / f"{n_stores}").exists():
    child = os.fork()
    if not child:
        store(f"{n_stores}")
        os._exit(0)
    if len(seen) < kills:
        time.sleep(draw.uniform(0, 0.4) * took)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        partial = folder / f"{n_stores}.partial"
        seen.append(len(list(partial.glob("progress/*.json"))) if partial.exists() else 0)
    if (folder / f"{n_stores}").exists():
        done.append(Activations.load(folder / f"{n_stores}"))
        n_stores += len(seen) < kills
for acts in done:
    acts.verify()
print(json.dumps({
    "kills": seen, "n_shards": len(whole.shards), "tokens": [len(a) for a in done], "of": len(whole),
    "rows": [a.index[["rollout", "position"]].drop_duplicates().shape[0] for a in done],
    "same": [a.content_hash == whole.content_hash for a in done],
    "equal": [bool((a.at("resid_post.2") == whole.at("resid_post.2")).all()) for a in done],
}))
"""


def killed(folder: Path, kills: int, seed: int) -> dict:
    (folder / "go.py").write_text(SCRIPT)
    return json.loads(Fork(folder, "go.py", str(folder), str(kills), str(seed)).finish().splitlines()[-1])


def check(outcome: dict, kills: int) -> None:
    assert len(outcome["kills"]) == kills and outcome["n_shards"] > 10
    assert outcome["tokens"] and outcome["tokens"] == outcome["rows"] == [outcome["of"]] * len(
        outcome["tokens"]
    )
    assert all(outcome["same"]) and all(outcome["equal"])


def test_three_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    check(killed(tmp_path, 3, seed=0), 3)


@pytest.mark.slow
def test_twenty_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    outcome = killed(tmp_path, 20, seed=1)
    check(outcome, 20)
    assert any(0 < n < outcome["n_shards"] for n in outcome["kills"]), (
        "no kill hit a capture that was under way"
    )
