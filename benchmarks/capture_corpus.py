"""P1 as a search asks for it: several sites at once, of texts whose lengths differ."""

from __future__ import annotations

import logging
import shutil
import tempfile
from pathlib import Path

import torch
from _models import as_rollouts, make_host, random_ids
from _table import Target, measure, report, timed
from capture import BRIDGE, FLOOR, OURS, SAELENS, saelens_runner, truncated
from datasets import Dataset
from safetensors.torch import save_file
from torch.nn.utils.rnn import pad_sequence

import reasonmech as rm

LENGTH, BATCH = 128, 8
SITES = {"tiny": (0, 1, 2, 3), "mid": (1, 3, 5, 7)}  # layers whose output is captured
ROWS = {"tiny": 256, "mid": 64}


def several_sites(size: str, n_rows: int, folder: Path) -> None:
    """Four sites of the same rows: SAELens' runner writes one site a run."""
    host, ids, layers = make_host(size), random_ids(n_rows, LENGTH), SITES[size]
    rollouts, batches, sites = as_rollouts(ids), ids.split(BATCH), [f"resid_post.{layer}" for layer in layers]
    short, hooks = truncated(host, layers[-1]), [f"blocks.{layer}.hook_out" for layer in layers]

    def floor() -> torch.Tensor:
        return torch.cat([short(text_batch, use_cache=False).last_hidden_state for text_batch in batches])

    def ours() -> rm.Activations:
        shutil.rmtree(folder / "ours", ignore_errors=True)
        return rm.capture(
            host, rollouts, sites, out=folder / "ours", keep=rm.Keep(batch_size=BATCH), progress=False
        )

    def bridge() -> dict[str, torch.Tensor]:
        seen = [
            host.lens.run_with_cache(x, names_filter=hooks, stop_at_layer=layers[-1] + 1)[1] for x in batches
        ]
        acts = {hook: torch.cat([cache[hook] for cache in seen]) for hook in hooks}
        save_file(acts, folder / "bridge.safetensors")
        return acts

    def saelens() -> float:
        runners = [
            saelens_runner(host, ids, BATCH, folder, layer) for layer in layers
        ]  # loading is not counted
        return sum(timed(runner.run)() for runner in runners)

    with torch.no_grad():
        captured, seen = ours(), bridge()
        assert torch.equal(captured.at(sites[-1]), floor().reshape(-1, host.d_model))
        for site, hook in zip(sites, hooks, strict=True):
            apart = seen[hook].reshape(-1, host.d_model) - captured.at(site)
            assert apart.abs().max() <= 1e-4 * captured.at(site).abs().max()  # eager attention there
        times = measure(
            {FLOOR: timed(floor), OURS: timed(ours), BRIDGE: timed(bridge), SAELENS: saelens}, runs=5
        )
    report(
        f"capture_sites_{size}",
        f"P1. {ids.numel()} tokens of four sites into a store, {size} host, batches of {BATCH} x {LENGTH}",
        times,
        floor=FLOOR,
        targets=[
            Target(SAELENS, OURS, at_least=3, limit=FLOOR, because="its runs for the lower sites stop lower"),
            Target(
                BRIDGE,
                OURS,
                at_least=1.5,
                limit=FLOOR,
                because="the floor writes nothing, both others four sites",
            ),
        ],
        notes=["SAELens' runner takes one site: it ran four times. The others see each text once."],
    )


def different_lengths(size: str, n_rows: int, folder: Path) -> None:
    """One site of texts as long as reasoning is, which varies: who sorts them, and who pads."""
    host, layer = make_host(size), SITES[size][2]
    log = torch.empty(n_rows).log_normal_(4.6, 0.6, generator=torch.Generator().manual_seed(0))
    lengths = log.long().clamp(16, 512)
    rows = [random_ids(1, int(length), seed=seed)[0] for seed, length in enumerate(lengths)]
    rollouts = [as_rollouts(row[None])[0] for row in rows]
    short, site, hook = truncated(host, layer), f"resid_post.{layer}", f"blocks.{layer}.hook_out"
    longest_first = sorted(rows, key=len, reverse=True)

    def padded(texts: list[torch.Tensor]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Batches padded on the right, where causal attention needs no mask, and which of their tokens are
        texts'."""
        text_batch = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        real = [torch.tensor([len(text) for text in batch])[:, None] for batch in text_batch]
        ids = [pad_sequence(batch, batch_first=True) for batch in text_batch]
        return [(x, torch.arange(x.shape[1]) < n) for x, n in zip(ids, real, strict=True)]

    in_order, sorted_once = padded(rows), padded(longest_first)

    def floor() -> torch.Tensor:
        return torch.cat([short(ids, use_cache=False).last_hidden_state[real] for ids, real in sorted_once])

    def ours() -> rm.Activations:
        shutil.rmtree(folder / "ours", ignore_errors=True)
        return rm.capture(
            host, rollouts, [site], out=folder / "ours", keep=rm.Keep(batch_size=BATCH), progress=False
        )

    def bridge() -> torch.Tensor:
        acts = [
            host.lens.run_with_cache(ids, names_filter=hook, stop_at_layer=layer + 1)[1][hook][real]
            for ids, real in in_order
        ]
        save_file({"acts": torch.cat(acts)}, folder / "bridge.safetensors")
        return torch.cat(acts)

    def saelens(ids: torch.Tensor) -> float:
        return timed(
            saelens_runner(host, ids, BATCH, folder, layer).run
        )()  # loading the model is not counted

    rows_padded = pad_sequence(rows, batch_first=True)
    joined = torch.cat(rows)
    rows_packed = joined[: len(joined) // LENGTH * LENGTH].reshape(-1, LENGTH)
    rows_packed = rows_packed[: len(rows_packed) // BATCH * BATCH]  # it takes whole batches
    packed = f"{SAELENS}, {rows_packed.numel()} of the tokens packed into contexts of {LENGTH}"
    with torch.no_grad():
        captured, seen = ours().at(site), bridge()
        assert captured.shape == seen.shape == (int(lengths.sum()), host.d_model)
        saelens(rows_padded)
        written = Dataset.load_from_disk(str(folder / f"saelens{layer}"))[f"model.layers.{layer}"]
        theirs = torch.cat([torch.tensor(written[i][:n]) for i, n in enumerate(lengths.tolist())])
        for other in (seen, theirs):  # eager attention in the first, other batches in both
            assert (captured - other).abs().max() <= 1e-4 * captured.abs().max()
        sides = {FLOOR: timed(floor), OURS: timed(ours), BRIDGE: timed(bridge)}
        saelens_sides = {SAELENS: lambda: saelens(rows_padded), packed: lambda: saelens(rows_packed)}
        times = measure(sides | saelens_sides, runs=5)
    report(
        f"capture_lengths_{size}",
        f"P1. {int(lengths.sum())} tokens of one site into a store, {size} host, {len(rows)} texts of "
        f"{int(lengths.min())} to {int(lengths.max())} tokens",
        times,
        floor=FLOOR,
        targets=[
            Target(FLOOR, OURS, at_least={"tiny": 0.75, "mid": 0.9}[size]),
            Target(BRIDGE, OURS, at_least=1.5, limit=FLOOR),
            Target(SAELENS, OURS, at_least=3, limit=FLOOR),
        ],
        notes=[
            "Lengths are log-normal, median 99 tokens, sigma 0.6. The floor gets the texts sorted by "
            "length; the "
            f"TransformerBridge gets them as they come, {BATCH} at a time, padded on the right.",
            "SAELens' runner takes contexts of one length. Padded to the longest text, it writes the "
            "activations these "
            "texts have (and those of the padding); packed, it writes as many rows, of tokens that follow "
            "other texts.",
        ],
    )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    for name in SITES:
        with tempfile.TemporaryDirectory() as directory:
            several_sites(name, ROWS[name], Path(directory))
            different_lengths(name, ROWS[name], Path(directory))
