"""One card, five minutes: bf16 capture, steered decoding at batch 256 and the hybrid, on random weights in
the shape of a 1.5B model and on SmolLM2 where it is here. `--smoke`: tiny sizes, on whatever there is."""

from __future__ import annotations

import copy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from _models import ONSETS, SMOLLM2, VOCAB, make_texts, smollm2_directory
from _table import Target, markdown, measure, tabulated, write
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

import reasonmech as rm
from reasonmech.hosts import ModelPair
from reasonmech.hybrid import DisagreementGate, Hybrid, OfThinking, Vectors
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.testing import move_matrices, tiny_tokenizer

SHAPE_15B = {  # Qwen2.5-1.5B's
    "hidden_size": 1536,
    "intermediate_size": 8960,
    "num_hidden_layers": 28,
    "num_attention_heads": 12,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
}
SHAPE_TINY = SHAPE_15B | {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": VOCAB,
}
CHANGE = 0.05  # of every matrix, in its standard deviations: what makes a sibling that disagrees now and then
DEADLINE = 270.0  # seconds; what would begin later is left out, and said


@dataclass(frozen=True)
class Sizes:
    """How much is measured: texts x tokens of a capture, rows x new tokens of decoding and of the hybrid."""

    capture: tuple[int, int]
    decode: tuple[int, int]
    hybrid: tuple[int, int]
    runs: int


FULL = Sizes(capture=(128, 512), decode=(256, 128), hybrid=(64, 64), runs=3)
SMOKE = Sizes(capture=(4, 8), decode=(4, 4), hybrid=(2, 4), runs=2)
PROMPT = 32


def random_host(shape: dict[str, int], device: torch.device) -> rm.hosts.Host:
    """A random Qwen2 in bfloat16 that never ends a text."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(shape["vocab_size"])
    with device:
        model = Qwen2ForCausalLM(Qwen2Config(**shape, tie_word_embeddings=False)).to(torch.bfloat16)
    return endless(rm.load_host(model, tokenizer=tokenizer, name="random"))


def smollm2_host(device: torch.device) -> rm.hosts.Host:
    """SmolLM2-135M in bfloat16."""
    return endless(rm.load_host(smollm2_directory(), dtype=torch.bfloat16, device=device.type))


def endless(host: rm.hosts.Host) -> rm.hosts.Host:
    """The same, which never ends a text."""
    with torch.no_grad():
        host.unembedding()[list(host.eos_ids)] = 0
    return host


def sibling(host: rm.hosts.Host) -> rm.hosts.Host:
    """The same model with every matrix moved a little."""
    model = copy.deepcopy(host.model)
    move_matrices(model, CHANGE, torch.Generator(device=host.device).manual_seed(1))
    return endless(rm.load_host(model, tokenizer=host.tokenizer, name="sibling"))


def timed(work: Callable[[], object], device: torch.device) -> Callable[[], float]:
    """Wall seconds until the device has done the work."""

    def once() -> float:
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - start

    return once


@dataclass(frozen=True)
class Bench:
    """One model on one device."""

    name: str
    host: rm.hosts.Host
    sizes: Sizes

    @property
    def device(self) -> torch.device:
        return self.host.device

    @property
    def site(self) -> str:
        return f"resid_post.{self.host.n_layers // 2}"

    @property
    def vector(self) -> Tensor:
        scale = float(self.host.unembedding().detach().float().norm(dim=-1).mean())
        v = torch.randn(self.host.d_model, generator=torch.Generator().manual_seed(0))
        return (4 * scale * v / v.norm()).to(self.device, self.host.dtype)

    def capture(self) -> None:
        rows, length = self.sizes.capture
        ids, texts = make_texts(self.host, rows, length)
        ids, keep = ids.to(self.device), rm.Keep(batch_size=32)

        def whole() -> None:
            with torch.no_grad():
                for batch in ids.split(32):
                    self.host.model(input_ids=batch, use_cache=False, logits_to_keep=1)

        def ours() -> rm.Activations:
            return rm.capture(self.host, texts, [self.site], keep=keep, progress=False)

        assert ours().n_tokens == ids.numel()
        sides = {"Hugging Face, whole forward (floor)": whole, "rm.capture, one site": ours}
        self.compare("capture", f"capture of {ids.numel()} tokens, bf16", sides, ids.numel(), 1 / 1.1)

    def decode(self) -> None:
        rows, new = self.sizes.decode
        ids, texts = make_texts(self.host, rows, PROMPT)
        ids, vector = ids.to(self.device), self.vector
        plan = [rm.steer(rm.Whole(self.site), vector.float().cpu())]
        decode = rm.Decode(max_new_tokens=new, batch_size=rows)

        def plain() -> Tensor:
            mask = torch.ones_like(ids)
            settings = {"max_new_tokens": new, "do_sample": False, "pad_token_id": self.host.pad_id}
            with torch.no_grad():
                return self.host.model.generate(ids, attention_mask=mask, **settings)[:, PROMPT:].cpu()

        def written(receipt: str, *interventions: rm.Intervention) -> Tensor:
            rollouts = rm.generate(
                self.host, texts, list(interventions), decode=decode, receipt=receipt, progress=False
            )
            return torch.tensor([rollout.ids for rollout in rollouts])

        assert (plain() == written("none")).float().mean() > 0.5, "bf16 kernels of one text drift, not more"
        sides = {
            "Hugging Face generate, unsteered (floor)": plain,
            "reasonmech, steered": lambda: written("none", *plan),
            "reasonmech, steered, with its receipt": lambda: written("sample", *plan),
        }
        self.compare("decode", f"decoding {rows} rows x {new} tokens, bf16", sides, rows * new, 0.95)

    def hybrid(self) -> None:
        rows, new = self.sizes.hybrid
        _, texts = make_texts(self.host, rows, PROMPT)
        pair = ModelPair(name="siblings", base=self.host, thinking=sibling(self.host))
        kinds = OneWordKinds({"a": ONSETS[SMOLLM2 if self.name == SMOLLM2 else "tiny"]}, self.host.tokenizer)
        n = len(kinds.names)
        table, trained = self.vector.float().repeat(n, 1), torch.ones(n, dtype=torch.bool)
        vectors = Vectors(self.host, self.site, table=table, trained=trained)
        both = Hybrid(pair, gate=DisagreementGate(), selector=OfThinking(), executor=vectors, kinds=kinds)
        decode = rm.Decode(max_new_tokens=new, batch_size=rows)

        def write(host: rm.hosts.Host | Hybrid) -> rm.Rollouts:
            return rm.generate(host, texts, decode=decode, receipt="none", progress=False)

        steered = [mark for rollout in write(both) for mark in rollout.steered]
        sides = {
            "base, then thinking model (floor)": lambda: (write(pair.base), write(pair.thinking)),
            "hybrid": lambda: write(both),
        }
        title = f"hybrid of {rows} rows x {new} tokens, {sum(steered) / len(steered):.0%} steered, bf16"
        self.compare("hybrid", title, sides, rows * new, 1 / 1.3)

    def compare(
        self, what: str, title: str, sides: dict[str, Callable[[], object]], n_tokens: int, least: float
    ) -> None:
        """Measure; print tokens a second and the peak of the card beside the ratios."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        times = measure(
            {name: timed(side, self.device) for name, side in sides.items()}, runs=self.sizes.runs
        )
        speeds = [
            f"{name}: {n_tokens / min(seconds):,.0f} tokens/s at best" for name, seconds in times.items()
        ]
        if self.device.type == "cuda":
            speeds.append(f"Peak of the card: {torch.cuda.max_memory_allocated(self.device) / 1e9:.1f} GB")
        floor, ours = list(sides)[:2]
        rows, judged = tabulated(times, floor, [Target(floor, ours, at_least=round(least, 2))])
        title = f"GPU. {title}, {self.name} on {device_name(self.device)}"
        notes = ["Wall seconds of the whole call.", *speeds]
        if self.sizes is FULL:
            write(f"gpu_{what}_{self.name}", title, rows, targets=judged, notes=notes)
        else:  # of tiny sizes nothing is kept
            print(markdown({"title": title, "rows": rows, "targets": judged, "notes": notes}))


def device_name(device: torch.device) -> str:
    """Of a card its own name."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def main(*, smoke: bool) -> None:
    """Every bench of every model, as long as there is time."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not smoke:
        print("no card here: nothing is measured; --smoke tries the script on the CPU")
        return
    sizes, begun = (SMOKE, time.monotonic()) if smoke else (FULL, time.monotonic())
    hosts: dict[str, Callable[[], rm.hosts.Host]] = {
        "random": lambda: random_host(SHAPE_TINY if smoke else SHAPE_15B, device)
    }
    if not smoke and smollm2_directory().is_dir():
        hosts[SMOLLM2] = lambda: smollm2_host(device)
    for name, make in hosts.items():
        bench = Bench(name, make(), sizes)
        for part in (bench.capture, bench.decode, bench.hybrid):
            if time.monotonic() - begun > DEADLINE:
                print(f"left out, {DEADLINE:.0f} s are over: {part.__name__} of {name}")
            else:
                part()
    print(f"done in {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main(smoke="--smoke" in sys.argv[1:])
