"""P1. One site of a model, captured into a sharded store."""

from __future__ import annotations

import copy
import logging
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from _models import SHAPES, make_host, random_ids
from _table import Target, measure, report, timed
from datasets import Dataset
from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig  # noqa: TID251 - the peer
from safetensors.torch import save_file

import reasonmech as rm
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout

FLOOR, OURS = "Hugging Face, cut off above (floor)", "reasonmech, store"
BRIDGE, SAELENS = "TransformerBridge, run_with_cache + stop, store", "SAELens CacheActivationsRunner"
LENGTH = 128
LAYER = {"tiny": 2, "mid": 4}  # whose output is captured
CASES = {  # rows, rows per pass
    "tiny": ((256, 8), (256, 64)),
    "mid": ((64, 8),),
}


def as_rollouts(ids: torch.Tensor) -> list[rm.Rollout]:
    """Rows of ids as rollouts that were prompted with their first token."""
    n = ids.shape[1] - 1
    settings = {"by_environment": (False,) * n, "steered": (False,) * n, "stop": "length", "text": "", "sample": 0}
    return [
        Rollout(
            problem=Problem(id=f"row/{i}", prompt="", answer=""), prompt_ids=(row[0],), ids=tuple(row[1:]), **settings
        )
        for i, row in enumerate(ids.tolist())
    ]


def truncated(host: rm.Host, layer: int) -> torch.nn.Module:
    """The Hugging Face model that ends with a layer, without norm and head, over the same parameters."""
    twin = copy.copy(host.model.get_submodule("model"))
    twin._modules = dict(twin._modules)
    twin.layers = twin.layers[: layer + 1]
    twin.config = copy.deepcopy(twin.config)
    twin.config.num_hidden_layers = layer + 1
    twin.norm = torch.nn.Identity()
    return twin


def saelens_runner(host: rm.Host, ids: torch.Tensor, batch: int, folder: Path) -> CacheActivationsRunner:
    """SAELens' runner over the same ids, ready to run; one buffer, which is what it rounds up to."""
    if not (folder / "model").exists():
        host.model.save_pretrained(folder / "model")
        host.tokenizer.save_pretrained(folder / "model")
    shutil.rmtree(folder / "saelens", ignore_errors=True)
    config = CacheActivationsRunnerConfig(
        model_name=str(folder / "model"),
        model_class_name="AutoModelForCausalLM",
        hook_name=hook_of(host),
        dataset_path="",
        context_size=LENGTH,
        d_in=host.d_model,
        device="cpu",
        prepend_bos=False,
        model_batch_size=batch,
        training_tokens=ids.numel(),
        new_cached_activations_path=str(folder / "saelens"),
        shuffle=False,
        buffer_size_gb=ids.numel() * host.d_model * 4 / 1e9,
    )
    return CacheActivationsRunner(config, override_dataset=Dataset.from_dict({"tokens": ids.tolist()}))


def compare(size: str, n_rows: int, batch: int, folder: Path) -> None:
    """One host at one batch size: every side on the same rows."""
    host, ids, layer = make_host(size), random_ids(n_rows, LENGTH), LAYER[size]
    rollouts, batches, site = as_rollouts(ids), ids.split(batch), f"resid_post.{layer}"
    short, hook = truncated(host, layer), f"blocks.{layer}.hook_out"

    def floor() -> torch.Tensor:
        return torch.cat([short(some, use_cache=False).last_hidden_state for some in batches])

    def ours() -> rm.Activations:
        shutil.rmtree(folder / "ours", ignore_errors=True)
        return rm.capture(host, rollouts, [site], out=folder / "ours", batch_size=batch, progress=False)

    def bridge() -> torch.Tensor:
        seen = [host.lens.run_with_cache(some, names_filter=hook, stop_at_layer=layer + 1)[1][hook] for some in batches]
        save_file({"acts": torch.cat(seen)}, folder / "bridge.safetensors")
        return torch.cat(seen)

    def saelens() -> float:
        runner = saelens_runner(host, ids, batch, folder)  # loading the model is not counted
        return timed(runner.run)()

    with torch.no_grad():
        expected = floor()
        assert torch.equal(ours().at(site), expected.reshape(-1, host.d_model))
        assert (bridge() - expected).abs().max() <= 1e-4 * expected.abs().max()  # eager attention there
        saelens()
        written = torch.tensor(Dataset.load_from_disk(str(folder / "saelens"))[hook_of(host)][:n_rows])
        assert (written - expected).abs().max() <= 1e-4 * expected.abs().max()
        found = measure(
            {
                FLOOR: timed(floor),
                OURS: timed(ours),
                BRIDGE: timed(bridge),
                SAELENS: saelens,
            },
            runs=5,
        )
    report(
        f"capture_{size}_{batch}",
        f"P1. {ids.numel()} tokens of one site into a store, {size} host, batches of {batch} x {LENGTH}",
        found,
        floor=FLOOR,
        targets=[
            Target(FLOOR, OURS, at_least={"tiny": 0.75, "mid": 0.9}[size]),
            Target(
                BRIDGE,
                OURS,
                at_least=1.5,
                limit=FLOOR,
                because="most of both is the matrix products of the same layers",
            ),
            Target(
                SAELENS,
                OURS,
                at_least=3,
                limit=FLOOR,
                because="it runs the same model with the same stop",
            ),
        ],
    )


def hook_of(host: rm.Host) -> str:
    """The captured site as SAELens calls it."""
    return f"model.layers.{LAYER['tiny' if host.n_layers == 4 else 'mid']}"


def memory(kind: str) -> float:
    """MB of this process: resident now ("VmRSS") or at most ("VmHWM"; getrusage would report the parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(kind))


def grow(tokens: int) -> None:
    """Capture so many tokens in this process, and print its memory before, at most meanwhile, and the CPU seconds."""
    host = make_host("tiny")
    rollouts = as_rollouts(random_ids(tokens // 256, 256))
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of importing
    before = memory("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        seconds = timed(lambda: rm.capture(host, rollouts, ["resid_post.2"], out=Path(folder) / "s", progress=False))()
    print(before, memory("VmHWM"), seconds)


def growth(smallest: int = 2**16) -> None:
    """Seconds and peak memory over 1x, 4x and 16x tokens, each in a process of its own."""
    found: dict[str, list[float]] = {}
    notes, peaks, texts, width = [], {}, {}, SHAPES["tiny"]["d_model"]
    for factor in (1, 4, 16):
        tokens = factor * smallest
        command = [sys.executable, "-W", "ignore", __file__, str(tokens)]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        texts[tokens], peaks[tokens], seconds = map(float, out.stdout.split()[-3:])
        found[f"{factor}x: {tokens} tokens"] = [seconds] * 2
        notes.append(
            f"{tokens} tokens: {texts[tokens]:.0f} MB before the capture, model and texts included; at most"
            f" {peaks[tokens]:.0f} MB during it (VmHWM); the store is {tokens * width * 4 / 1e6:.0f} MB."
        )
    first, last = 4 * smallest, 16 * smallest  # from 4x on every shard is full: below, the first one still grows
    of_texts = (texts[last] - texts[first]) / (last - first)
    of_all = (peaks[last] - peaks[first]) / (last - first)
    notes += [
        f"Slope of the peak from 4x to 16x: {of_all * 1e6:.0f} MB a million tokens, {of_texts * 1e6:.0f} of them the"
        " texts themselves (Python integers), which the caller holds before the capture starts; the rest is the index,"
        " one row a token.",
        f"Extrapolated along that line, not measured: {(peaks[last] + of_all * (1e7 - last)) / 1000:.2f} GB for 10 M"
        " tokens (target: under 2 GB).",
    ]
    report("capture_growth", "P1. Growth with tokens, tiny host", found, floor=next(iter(found)), notes=notes)


if __name__ == "__main__":
    work: Callable[[], None] | None = (lambda: grow(int(sys.argv[1]))) if len(sys.argv) > 1 else None
    logging.disable(logging.WARNING)
    if work is not None:
        work()
    else:
        for name, cases in CASES.items():
            for case in cases:
                with tempfile.TemporaryDirectory() as directory:
                    compare(name, *case, Path(directory))
        growth()
