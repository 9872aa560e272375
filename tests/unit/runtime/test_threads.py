"""Threads on one model, and passes inside passes: every result is what its call alone gives, or an error."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

import reasonmech as rm
from reasonmech.coders.coder import reconstruct
from reasonmech.coders.saelens import SAELensCoder
from reasonmech.coders.sinks import Sinks
from reasonmech.errors import ReentryError
from reasonmech.hosts import Host
from reasonmech.hybrid import DisagreementGate, Hybrid, OfThinking, Takeover
from reasonmech.interventions import Edit, Intervention
from reasonmech.interventions.masks import Where
from reasonmech.runtime.coder_fit import reconstructed
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.testing import tiny_coder, tiny_host, tiny_pair

TEXTS = [f"w{i} w{i + 1} . w{i + 2}" for i in range(8)]
ROUNDS = 8
NO_SINKS = Sinks(limit=float("inf"), first=False, n_tokens=1, n_sinks=0, variance_share=0.0)


def direction(host: Host, seed: int, layer: int = 1) -> rm.Direction:
    return rm.Direction.along(
        torch.randn(host.d_model, generator=torch.Generator().manual_seed(seed)), f"resid_post.{layer}"
    )


def n_hooks(host: Host) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in host.model.modules())


def at_once(*works: Callable[[], Any]) -> list[BaseException]:
    """Run functions in threads of their own; what they raised."""
    raised: list[BaseException] = []
    gate = threading.Barrier(len(works))

    def run(work: Callable[[], Any]) -> None:
        gate.wait()
        try:
            work()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads), "a thread waits for ever"
    return raised


def read_reconstructed(host: Host) -> Tensor:
    with reconstructed(host, tiny_coder(host, "resid_post.1"), NO_SINKS):
        return torch.cat(rm.forward(host, TEXTS).logits)


CALLS: dict[str, Callable[[Host], Tensor]] = {
    "steered forward": lambda host: torch.cat(
        rm.forward(host, TEXTS, [rm.steer(direction(host, 0), 50.0)]).logits
    ),
    "clean forward": lambda host: torch.cat(rm.forward(host, TEXTS).logits),
    "generate": lambda host: torch.tensor(
        [
            r.ids
            for r in rm.generate(
                host,
                TEXTS,
                [rm.steer(direction(host, 2), 30.0)],
                decode=rm.Decode(max_new_tokens=6, stop_tokens=()),
                progress=False,
            )
        ]
    ),
    "capture": lambda host: rm.capture(host, TEXTS, ["resid_post.2"], progress=False).at("resid_post.2"),
    "reconstructed": lambda host: read_reconstructed(host),
    "patch grid": lambda host: torch.tensor(
        rm.patch_grid(
            host,
            rm.TextPairs(TEXTS[:3], TEXTS[3:6]),
            ["resid_post.1", "attn_out.2"],
            metric=rm.logit_diff(host, good="w1", bad="w2"),
        ).table["value"]
    ),
    "sweep": lambda host: torch.tensor(
        rm.sweep(
            host,
            TEXTS,
            rm.grid({"v": direction(host, 3, 2)}, "steer", amounts=(5.0, 9.0)),
            metric=rm.logit_diff(host, good="w1", bad="w2"),
            progress=False,
        ).table["value"]
    ),
}


@pytest.fixture(scope="module")
def host() -> Host:
    return tiny_host()


@pytest.mark.parametrize("name", list(CALLS))
def test_a_call_beside_steering_threads_gives_what_it_gives_alone(host: Host, name: str) -> None:
    want, steered = CALLS[name](host), CALLS["steered forward"](host)
    assert n_hooks(host) == 0
    wrong: list[str] = []

    def work() -> None:
        for _ in range(ROUNDS):
            if not torch.equal(CALLS[name](host), want):
                wrong.append(name)

    def steer() -> None:
        for _ in range(ROUNDS * 2):
            if not torch.equal(CALLS["steered forward"](host), steered):
                wrong.append("steered")

    assert at_once(work, steer, steer) == []
    assert wrong == []
    assert n_hooks(host) == 0


def test_two_hosts_that_share_a_model_take_turns(host: Host) -> None:
    twin = Host(host.model, host.tokenizer, name="twin")
    want = CALLS["clean forward"](twin)
    wrong: list[int] = []

    def read() -> None:
        for i in range(ROUNDS * 2):
            if not torch.equal(CALLS["clean forward"](twin), want):
                wrong.append(i)

    assert at_once(read, lambda: [CALLS["steered forward"](host) for _ in range(ROUNDS * 2)]) == []
    assert wrong == []


def test_the_model_itself_run_in_another_thread_stays_clean(host: Host) -> None:
    """Between calls a user may run `host.model`; in a thread of its own it meets hooks that are not its."""
    ids = torch.tensor([host.encode(TEXTS[0])])
    want = host.model(ids).logits
    wrong: list[int] = []

    def raw() -> None:
        for i in range(100):
            if not torch.equal(host.model(ids).logits, want):
                wrong.append(i)

    calls = ("steered forward", "capture", "sweep")
    assert at_once(raw, *(lambda name=name: [CALLS[name](host) for _ in range(5)] for name in calls)) == []
    assert wrong == []


def test_a_hybrid_beside_steering_of_both_models_writes_what_it_writes_alone() -> None:
    pair = tiny_pair()
    kinds = OneWordKinds({"one": "w1", "two": "w2"}, pair.base.tokenizer)
    hybrid = Hybrid(pair, gate=DisagreementGate(), selector=OfThinking(), executor=Takeover(), kinds=kinds)
    wrong: list[str] = []

    def write() -> list[tuple[int, ...]]:
        decode = rm.Decode(max_new_tokens=8)
        return [tuple(r.ids) for r in rm.generate(hybrid, TEXTS, decode=decode, progress=False)]

    def work() -> None:
        for _ in range(6):
            if write() != want:
                wrong.append("hybrid")

    def steer(side: Host) -> None:
        for _ in range(30):
            rm.forward(side, TEXTS, [rm.steer(direction(side, 0), 50.0)], receipt="none")

    want = write()
    assert at_once(work, lambda: steer(pair.base), lambda: steer(pair.thinking)) == []
    assert wrong == []


@dataclass(frozen=True, eq=False)
class Doing(Edit):
    """An edit that does something while the pass is on, and adds `change` to the coordinates."""

    do: Callable[[], Any]
    change: float = 0.0
    kind = "doing"

    def new(self, coords: Tensor, axis: Any, place: Any) -> Tensor:
        self.do()
        return coords + self.change

    def check(self, axis: Any) -> None: ...

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind}


def doing(host: Host, do: Callable[[], Any], *, change: float = 0.0) -> Intervention:
    return Intervention(direction(host, 1, 2), Doing(do, change))


@pytest.mark.parametrize("name", ["clean forward", "steered forward", "generate", "capture", "sweep"])
def test_a_call_from_inside_an_edit_of_the_same_model_is_refused(host: Host, name: str) -> None:
    plan = [rm.steer(direction(host, 0), 30.0), doing(host, lambda: CALLS[name](host))]
    with pytest.raises(ReentryError, match="inside another one"):
        rm.forward(host, TEXTS[:2], plan, receipt="none")
    with pytest.raises(ReentryError, match="inside another one"):
        rm.generate(host, TEXTS[:2], plan, receipt="none", progress=False)
    assert n_hooks(host) == 0


def test_the_model_itself_run_from_inside_an_edit_is_refused(host: Host) -> None:
    ids = torch.tensor([host.encode(TEXTS[0])])
    plan = [rm.steer(direction(host, 0), 30.0), doing(host, lambda: host.model(ids))]
    with pytest.raises(ReentryError):
        rm.forward(host, TEXTS[:2], plan, receipt="none")
    assert n_hooks(host) == 0


def test_another_model_may_be_run_from_inside_an_edit(host: Host) -> None:
    other = tiny_host(seed=1)
    want, got = CALLS["clean forward"](other), []
    plan = [doing(host, lambda: got.append(CALLS["clean forward"](other)), change=1.0)]
    rm.forward(host, TEXTS, plan)
    assert got and all(torch.equal(one, want) for one in got)


def test_a_mask_that_runs_the_model_runs_it_clean(host: Host) -> None:
    """A mask is computed between passes: what it runs meets no hook, in the second batch neither."""
    want, got = CALLS["clean forward"](host), []

    @dataclass(frozen=True)
    class Asking(Where):
        kind = "asking"

        def mask(self, step: Any) -> Tensor:
            got.append(CALLS["clean forward"](host))
            return step.mask

        def to_json(self) -> dict[str, Any]:
            return {"kind": self.kind}

    plan = [rm.steer(direction(host, 0), 30.0, where=Asking())]
    rm.forward(host, TEXTS, plan, batch_size=2)
    rm.generate(host, TEXTS[:2], plan, decode=rm.Decode(max_new_tokens=3), progress=False)
    assert len(got) > 4 and all(torch.equal(one, want) for one in got)


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_a_call_that_dies_in_a_pass_leaves_no_hook_and_no_lock(host: Host, error: BaseException) -> None:
    want = CALLS["clean forward"](host)

    def die() -> None:
        raise error

    kept = []  # as an interactive session keeps the last traceback, and with it every frame
    for call in (rm.forward, rm.generate):
        with pytest.raises(type(error)) as info:
            call(host, TEXTS, [doing(host, die)])
        kept.append(info)
    assert n_hooks(host) == 0
    got: list[Tensor] = []
    assert at_once(lambda: got.append(CALLS["clean forward"](host))) == []
    assert torch.equal(got[0], want) and torch.equal(CALLS["clean forward"](host), want)


@pytest.mark.parametrize("normalize", ["constant_norm_rescale", "layer_norm"])
def test_threads_on_one_coder_that_normalises_reconstruct_their_own(host: Host, normalize: str) -> None:
    """SAELens keeps the norm of what is encoded in the coder until it is decoded."""
    from sae_lens import SAE  # noqa: TID251 - made as a stranger makes it

    settings = tiny_coder(host).sae.cfg.to_dict() | {"normalize_activations": normalize}
    torch.manual_seed(0)
    coder = SAELensCoder(SAE.from_dict(settings), name="normalised")
    torch.nn.init.normal_(coder.sae.W_dec)
    inputs = [torch.randn(64, host.d_model) * scale for scale in (1.0, 300.0)]
    want, wrong = [reconstruct(coder, x) for x in inputs], []

    def work(i: int) -> None:
        for _ in range(300):
            if not torch.equal(reconstruct(coder, inputs[i]), want[i]):
                wrong.append(i)

    assert at_once(lambda: work(0), lambda: work(1)) == []
    assert wrong == []
