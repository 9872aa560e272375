"""P1. One site of a model, captured into a sharded store."""

from __future__ import annotations

import copy
import logging
import shutil
import tempfile
from pathlib import Path

import torch
from _models import as_rollouts, chosen, make_host, make_texts, rounds
from _table import Target, measure, report, timed
from datasets import Dataset
from sae_lens import CacheActivationsRunner, CacheActivationsRunnerConfig  # noqa: TID251 - the peer
from safetensors.torch import save_file

import reasonmech as rm

FLOOR, OURS = "Hugging Face, cut off above (floor)", "reasonmech, store"
BRIDGE, SAELENS = "TransformerBridge, run_with_cache + stop, store", "SAELens CacheActivationsRunner"
LENGTH = 128
LAYER = {"tiny": 2, "mid": 4, "smollm2": 15}  # whose output is captured
CASES = {  # rows, rows per pass
    "tiny": ((256, 8), (256, 64)),
    "mid": ((64, 8),),
    "smollm2": ((16, 8),),
}


def truncated(host: rm.hosts.Host, layer: int) -> torch.nn.Module:
    """The Hugging Face model that ends with a layer, without norm and head, over the same parameters."""
    twin = copy.copy(host.model.get_submodule("model"))
    twin._modules = dict(twin._modules)
    twin.layers = twin.layers[: layer + 1]
    twin.config = copy.deepcopy(twin.config)
    twin.config.num_hidden_layers = layer + 1
    twin.norm = torch.nn.Identity()
    return twin


def saelens_runner(
    host: rm.hosts.Host, ids: torch.Tensor, batch: int, folder: Path, layer: int
) -> CacheActivationsRunner:
    """SAELens' runner over the same ids, ready to run; one buffer, which is what it rounds up to."""
    if not (folder / "model").exists():
        host.model.save_pretrained(folder / "model")
        host.tokenizer.save_pretrained(folder / "model")
    shutil.rmtree(folder / f"saelens{layer}", ignore_errors=True)
    config = CacheActivationsRunnerConfig(
        model_name=str(folder / "model"),
        model_class_name="AutoModelForCausalLM",
        hook_name=f"model.layers.{layer}",
        dataset_path="",
        context_size=ids.shape[1],
        d_in=host.d_model,
        device="cpu",
        prepend_bos=False,
        model_batch_size=batch,
        training_tokens=ids.numel(),
        new_cached_activations_path=str(folder / f"saelens{layer}"),
        shuffle=False,
        buffer_size_gb=ids.numel() * host.d_model * 4 / 1e9,
    )
    return CacheActivationsRunner(config, override_dataset=Dataset.from_dict({"tokens": ids.tolist()}))


def compare(size: str, n_rows: int, batch: int, folder: Path) -> None:
    """One host at one batch size: every side on the same rows."""
    host, layer = make_host(size), LAYER[size]
    ids, _ = make_texts(host, n_rows, LENGTH)
    rollouts, batches, site = as_rollouts(ids), ids.split(batch), f"resid_post.{layer}"
    short, hook = truncated(host, layer), f"blocks.{layer}.hook_out"

    def floor() -> torch.Tensor:
        return torch.cat([short(text_batch, use_cache=False).last_hidden_state for text_batch in batches])

    def ours() -> rm.Activations:
        shutil.rmtree(folder / "ours", ignore_errors=True)
        return rm.capture(
            host, rollouts, [site], out=folder / "ours", keep=rm.Keep(batch_size=batch), progress=False
        )

    def bridge() -> torch.Tensor:
        seen = [
            host.lens.run_with_cache(text_batch, names_filter=hook, stop_at_layer=layer + 1)[1][hook]
            for text_batch in batches
        ]
        save_file({"acts": torch.cat(seen)}, folder / "bridge.safetensors")
        return torch.cat(seen)

    def saelens() -> float:
        runner = saelens_runner(host, ids, batch, folder, layer)  # loading the model is not counted
        return timed(runner.run)()

    with torch.no_grad():
        expected = floor()
        assert torch.equal(ours().at(site), expected.reshape(-1, host.d_model))
        assert (bridge() - expected).abs().max() <= 1e-4 * expected.abs().max()  # eager attention there
        saelens()
        written = torch.tensor(
            Dataset.load_from_disk(str(folder / f"saelens{layer}"))[f"model.layers.{layer}"][:n_rows]
        )
        assert (written - expected).abs().max() <= 1e-4 * expected.abs().max()
        times = measure(
            {
                FLOOR: timed(floor),
                OURS: timed(ours),
                BRIDGE: timed(bridge),
                SAELENS: saelens,
            },
            runs=rounds(size),
        )
    report(
        f"capture_{size}_{batch}",
        f"P1. {ids.numel()} tokens of one site into a store, {size} host, batches of {batch} x {LENGTH}",
        times,
        floor=FLOOR,
        targets=[
            Target(FLOOR, OURS, at_least={"tiny": 0.75, "mid": 0.9, "smollm2": 0.95}[size]),
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


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    for name in chosen([*CASES]):
        for case in CASES[name]:
            with tempfile.TemporaryDirectory() as directory:
                compare(name, *case, Path(directory))
