"""P3. A sweep of directions, amounts and masks over one set of texts: beside loops, and the layers above the
site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from _models import as_texts, make_host, random_ids, run_from
from _table import Target, measure, report, timed
from torch import Tensor

import reasonmech as rm
from reasonmech.causal.sweeps.configurations import Configuration
from reasonmech.metrics import logit_diff

TEXTS, LENGTH, AXES, AMOUNTS, ROWS = 8, 64, 8, (2.0, 8.0), 128
LAYERS = {"tiny": 1, "mid": 3}  # half of the network lies above
GOOD, BAD = 11, 12


@dataclass(frozen=True)
class Case:
    """Plain tensors of the same sweep, for the peers."""

    host: rm.hosts.Host
    layer: int
    ids: Tensor
    settings: list[Configuration]
    columns: list[slice]  # that each configuration edits

    def vector(self, number: int) -> Tensor:
        """What a configuration adds."""
        (intervention,) = self.settings[number].plan
        return intervention.axis.vector * self.settings[number].amount

    @property
    def cells(self) -> list[tuple[int, int]]:
        return [(number, text) for number in range(len(self.settings)) for text in range(len(self.ids))]


def case(size: str, where: dict[str, slice]) -> Case:
    """Masks are windows of the prompt: a slice of its columns."""
    host, layer = make_host(size), LAYERS[size]
    vectors = torch.randn(AXES, host.d_model, generator=torch.Generator().manual_seed(0))
    axes = {f"v{i}": rm.Direction.along(v, f"resid_post.{layer}") for i, v in enumerate(vectors)}
    masks = {name: rm.prompt(columns.start, columns.stop) for name, columns in where.items()}
    settings = rm.grid(axes, "steer", amounts=AMOUNTS, where=masks)
    return Case(host, layer, random_ids(TEXTS, LENGTH), settings, [where[one.where] for one in settings])


def ours(case: Case) -> Callable[[], Tensor]:
    """The library: everything from hashing cells to the tidy table is counted."""
    metric, texts = logit_diff(case.host, good=GOOD, bad=BAD), as_texts(case.host, case.ids)

    def run() -> Tensor:
        trials = rm.sweeps.TextTrials(texts, batch_rows=ROWS)
        readings = rm.sweep(case.host, trials, case.settings, metric=metric, progress=False).table
        return torch.tensor(readings.query("configuration != 'clean'")["value"].to_numpy())

    return run


def batched(case: Case) -> Callable[[], Tensor]:
    """Rows of different configurations in one batch, each a whole forward pass with an additive hook."""

    def run() -> Tensor:
        readings = []
        for start in range(0, len(case.cells), ROWS):
            cell_batch = case.cells[start : start + ROWS]
            delta = torch.zeros(len(cell_batch), LENGTH, case.host.d_model)
            for row, (number, _) in enumerate(cell_batch):
                delta[row, case.columns[number]] = case.vector(number)

            def add(_: object, __: object, output: Any, delta: Tensor = delta) -> Any:
                return output + delta if isinstance(output, Tensor) else (output[0] + delta, *output[1:])

            handle = case.host.layers[case.layer].register_forward_hook(add)
            ids = case.ids[[text for _, text in cell_batch]]
            with torch.no_grad():
                logits = case.host.model(input_ids=ids, use_cache=False, logits_to_keep=1).logits[:, -1]
            handle.remove()
            readings.append(logits[:, GOOD] - logits[:, BAD])
        return torch.cat(readings)

    return run


def with_hooks(case: Case, *, at_once: int) -> Callable[[], Tensor]:
    """TransformerBridge.run_with_hooks, one call per configuration and `at_once` texts."""
    bridge, name = case.host.lens, case.host.lens_hook(f"resid_post.{case.layer}")

    def run() -> Tensor:
        readings = []
        for number in range(len(case.settings)):
            vector, columns = case.vector(number), case.columns[number]

            def add(x: Tensor, hook: object, vector: Tensor = vector, columns: slice = columns) -> Tensor:
                x = x.clone()
                x[:, columns] += vector
                return x

            for start in range(0, TEXTS, at_once):
                with torch.no_grad():
                    logits = bridge.run_with_hooks(
                        case.ids[start : start + at_once], fwd_hooks=[(name, add)]
                    )[:, -1]
                readings.append(logits[:, GOOD] - logits[:, BAD])
        return torch.cat(readings)

    return run


def layers_above(case: Case) -> Callable[[], None]:
    """The floor: blocks above the site, norm and head of the last token, for every cell, and one whole clean
    pass."""
    inner = case.host.model.model

    def run() -> None:
        with torch.no_grad():
            inner(input_ids=case.ids, use_cache=False)
            for start in range(0, len(case.cells), ROWS):
                n = min(ROWS, len(case.cells) - start)
                run_from(case.host, case.layer + 1, torch.randn(n, LENGTH, case.host.d_model))

    return run


def compare(size: str, what: str, where: dict[str, slice], targets: list[Target]) -> None:
    """One table."""
    bench = case(size, where)
    sides = {
        "rm.sweep": ours(bench),
        "batched loop, whole passes": batched(bench),
        "run_with_hooks, all texts per call": with_hooks(bench, at_once=TEXTS),
        "run_with_hooks, one text per call": with_hooks(bench, at_once=1),
    }
    reference = sides["rm.sweep"]()
    for name, side in sides.items():
        values = side().double()
        assert torch.allclose(values, reference, atol=1e-3), (name, float((values - reference).abs().max()))
    timings = {"layers above the site": layers_above(bench)} | sides
    report(
        f"sweep_{size}_{what}",
        f"P3 sweep of {len(bench.settings)} interventions at layer {bench.layer + 1} of {bench.host.n_layers}"
        f" over {TEXTS} texts of {LENGTH} tokens, {what.replace('_', ' ')}, {size} host",
        measure({name: timed(side) for name, side in timings.items()}, runs=5),
        floor="layers above the site",
        targets=targets,
        notes=["All sides gave the same values within 1e-3 (logits) before anything was timed."],
    )


HOOKS, WHOLE, FLOOR = (
    "run_with_hooks, one text per call",
    "batched loop, whole passes",
    "layers above the site",
)
AT_THE_END = {"last 16": slice(-16, None), "last 4": slice(-4, None), "last": slice(-1, None)}
BOUNDED = "no token before an edit is left to skip, so at most a half of a whole pass can be saved"
SMALL = (
    "a pass of 64 dimensions is so short that books (masks, hashes, the table) weigh as much as arithmetic"
)

if __name__ == "__main__":
    for host_size in LAYERS:
        small = SMALL if host_size == "tiny" else ""
        targets = [Target("rm.sweep", FLOOR, at_most=1.2, because=small)]
        targets += [Target(HOOKS, "rm.sweep", at_least=10, limit=FLOOR, because=small or BOUNDED)]
        targets += [Target(WHOLE, "rm.sweep", at_least=1.5, limit=FLOOR, because=small)]
        compare(host_size, "masks_at_the_end", AT_THE_END, targets)
        compare(host_size, "all_tokens", {"all": slice(0, None)}, targets)
