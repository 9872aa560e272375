"""Run with the plug-in installed and never imported: every kind is found, and does its work."""

import sys
from pathlib import Path

import torch
import yaml

import reasonmech as rm
from reasonmech import hybrid
from reasonmech.behaviours import behaviours
from reasonmech.experiments.stages import build_stage, corpora, stages
from reasonmech.interventions import Direction, Intervention, edits, gates, masks
from reasonmech.locate import scores
from reasonmech.locate.directions import methods
from reasonmech.metrics import metric_from_config, metrics
from reasonmech.organisms import recipes
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.testing import assert_causal, assert_edit_laws, tiny_host

assert not any(name.startswith("counting_plugin") for name in sys.modules)

problems = rm.load_task("counting", n=3)
assert [p.answer for p in problems] == ["w2", "w3", "w4"]
for registry, kind in (
    (behaviours, "count"),
    (corpora, "counting"),
    (scores, "mean_gap"),
    (methods, "first_axis"),
    (metrics, "margin"),
    (edits, "flip"),
    (masks, "even"),
    (gates, "half"),
    (hybrid.gates, "never"),
    (hybrid.selectors, "first"),
    (hybrid.executors, "my_takeover"),
    (hybrid.arms, "never"),
    (stages, "hello"),
    (recipes, "tiny-counting"),
):
    assert kind in registry.kinds() and registry.get(kind) is not None, (registry.noun, kind)
assert "counting-pair" in rm.hosts.pair_names()

assert_edit_laws(edits.get("flip")())
assert_causal(masks.get("even")())
host = tiny_host()
assert metric_from_config(host, yaml.safe_load("kind: margin")).unit == "logits"
plan = [
    Intervention(
        Direction.along(torch.ones(32), "resid_post.1"),
        edits.get("flip")(),
        masks.get("even")(),
        gates.get("half")(),
    )
]
entry = {
    "edit": "flip",
    "axis": {"kind": "direction", "vector": [32**-0.5] * 32, "site": "resid_post.1"},
    "where": "even",
    "when": "half",
}
assert [one.fingerprint for one in rm.load_plan({"plan": [entry]}, host)] == [plan[0].fingerprint]
plain, edited = rm.generate(host, problems, progress=False), rm.generate(host, problems, plan, progress=False)
assert [r.ids for r in plain] != [r.ids for r in edited]
assert edited.receipt.lines[0].n_gated > 0
along = Direction.along(torch.ones(32), "resid_post.1")
half, whole, less = (
    rm.forward(host, ["w1 w2 w3"], [rm.steer(along, amount, when=gate)]).logits[0]
    for amount, gate in (
        (2.0, gates.get("half")()),
        (2.0, rm.interventions.always()),
        (1.0, rm.interventions.always()),
    )
)
assert not torch.allclose(half, whole, atol=1e-2) and torch.allclose(half, less, atol=1e-3)

for side in ("base", "thinking"):
    host.model.save_pretrained(Path("counting-pair") / side)
    host.tokenizer.save_pretrained(Path("counting-pair") / side)
config = {
    "name": "trial",
    "pair": "counting-pair",
    "task": {"kind": "counting", "n": 3},
    "stages": [{"kind": "hello"}],
}
Path("trial.yaml").write_text(yaml.safe_dump(config))
arm = {"name": "mine", "executor": {"kind": "my_takeover"}, "no_control": "a ceiling"}
null = {"name": "null", "gate": {"kind": "never"}, "selector": {"kind": "first"}, "control_for": "full"}
stage = build_stage({"kind": "arms", "arms": ["base", "thinking", "full", arm, null]})
assert list(stage.resolved) == ["base", "thinking", "full", "mine", "null"]
pair = rm.load_pair("counting-pair")
kinds = OneWordKinds({"count": "w1"}, pair.base.tokenizer)
vectors = hybrid.Vectors(
    pair.base,
    "resid_post.1",
    table=torch.ones(len(kinds.names), 32),
    trained=torch.ones(len(kinds.names), dtype=torch.bool),
)
ingredients = hybrid.Ingredients(pair, kinds, vectors, None, rate=0.0)
mine, null = (stage.resolved[name].decoder(ingredients) for name in ("mine", "null"))
decode = rm.Decode(max_new_tokens=4)
assert not any(rm.generate(null, ["w1 w2"], decode=decode, progress=False)[0].steered)
written = [rm.generate(d, ["w1 w2"], decode=decode, progress=False)[0].ids for d in (mine, pair.thinking)]
assert written[0] == written[1]
build_stage({"kind": "metrics", "metrics": ["margin", {"kind": "margin"}]})
run = rm.run("trial.yaml", out="out", progress=False)
assert run.value("hello", "base") == 3
assert '<section id="greetings">' in rm.report(run, out="page.html").read_text()
print("every kind works")
