"""Silence is an error, and the receipt says what was done (semantics 7 and 8)."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reasonmech.errors import NoChangeError
from reasonmech.hosts.host import Host
from reasonmech.interventions import (
    Features,
    Intervention,
    Whole,
    ablate,
    above,
    clamp,
    generated,
    patch,
    prompt,
    scale,
    steer,
    tokens,
)
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.forward import forward
from tests.laws.plans import CODER, DECODE, HOST, PROMPTS, direction, ids_of


def test_a_mask_that_matched_nothing_in_the_whole_run_is_an_error_with_the_result() -> None:
    with pytest.raises(NoChangeError, match=r"steer at resid_post\.1.*touched nothing.*w50") as caught:
        forward(HOST, PROMPTS, [steer(direction(0), 1.0, where=tokens("w50"))])
    assert len(caught.value.result.logits) == len(PROMPTS)
    with pytest.raises(NoChangeError, match="generated") as caught:
        generate(HOST, PROMPTS, [steer(direction(0), 1.0, where=generated(500))], decode=DECODE)
    assert ids_of(caught.value.result) == ids_of(generate(HOST, PROMPTS, decode=DECODE))


def test_one_row_that_matches_is_enough_whatever_the_batch() -> None:
    plan = [steer(direction(0), 1.0, where=tokens("w40") & prompt())]
    for batch_size in (1, 64):
        receipt = forward(HOST, PROMPTS, plan, batch_size=batch_size).receipt
        assert receipt.lines[0].n_masked == receipt.lines[0].n_gated == 1


def test_a_gate_that_never_opened_is_an_error_unless_no_change_is_allowed() -> None:
    shut = {"where": prompt(), "when": above(direction(0), 1e6)}
    quiet = steer(direction(0), 1.0, **shut)
    out = generate(HOST, PROMPTS, [quiet.allow_no_change()], decode=DECODE)
    [line] = out.receipt.lines
    assert (
        line.n_masked == sum(len(r.prompt_ids) for r in out) and line.n_gated == 0 and line.mean_relative == 0
    )
    assert line.n_changed == 0
    for plan in ([quiet], [steer(direction(0), 1.0, require_gated=1, **shut)]):
        message = f"changed nothing: its gate was open at 0 of {line.n_masked} masked tokens"
        with pytest.raises(NoChangeError, match=message) as caught:
            generate(HOST, PROMPTS, plan, decode=DECODE)
        assert len(caught.value.result) == len(PROMPTS) and "threshold" in caught.value.do


def test_a_gate_that_opened_less_often_than_required_is_an_error_whatever_is_allowed() -> None:
    plan = [steer(direction(0), 1.0, where=tokens("w40") & prompt(), require_gated=2).allow_no_change()]
    with pytest.raises(
        NoChangeError, match=r"changed too little.*open at 1 of 1 .*\n.*2 tokens or more \(require"
    ):
        forward(HOST, PROMPTS, plan)


def silent_and_active() -> tuple[int, int]:
    """A feature that fires nowhere in the prompts, and one that fires at some of their tokens."""
    codes = CODER.encode(torch.cat([stream_at(HOST, tuple(HOST.encode(text)), 1) for text in PROMPTS]))
    n_active = (codes != 0).sum(0)
    return int((n_active == 0).nonzero()[0]), int(((n_active > 0) & (n_active < len(codes))).nonzero()[0])


@pytest.mark.parametrize("mode", ["sample", "none"])
def test_ablating_a_silent_feature_raises_with_the_result(mode: str) -> None:
    silent, active = silent_and_active()
    with pytest.raises(
        NoChangeError, match=r"ablate at resid_post\.1.*changed nothing: its gate was open"
    ) as caught:
        forward(HOST, PROMPTS, [ablate(Features(CODER, (silent,)))], receipt=mode)
    [line] = caught.value.result.receipt.lines
    assert line.n_gated == line.n_masked > 0 == line.n_changed
    assert "features that are active" in caught.value.do and ".allow_no_change()" in caught.value.do
    both = forward(HOST, PROMPTS, [ablate(Features(CODER, (silent, active)))], receipt=mode).receipt
    assert 0 < both.lines[0].n_changed < both.lines[0].n_gated


def test_the_changed_tokens_are_those_at_which_the_feature_fires() -> None:
    _, active = silent_and_active()
    [line] = forward(HOST, PROMPTS, [ablate(Features(CODER, (active,)))]).receipt.lines
    codes = [CODER.encode(stream_at(HOST, tuple(HOST.encode(text)), 1))[:, active] for text in PROMPTS]
    assert line.n_changed == int((torch.cat(codes) != 0).sum()) < line.n_gated


@pytest.mark.parametrize(
    "identity",
    [
        steer(direction(0), 0.0),
        scale(direction(0), 1.0),
        steer(Whole("resid_post.1"), torch.zeros(HOST.d_model)),
    ],
)
def test_an_identity_is_an_error_unless_it_is_allowed_to_change_nothing(identity: Intervention) -> None:
    with pytest.raises(NoChangeError, match="left the stream of each as it was") as caught:
        forward(HOST, PROMPTS, [identity])
    assert "amount other than 0" in caught.value.do or "factor other than 1" in caught.value.do
    assert caught.value.result.receipt.lines[0].n_changed == 0
    allowed = identity.allow_no_change()
    assert forward(HOST, PROMPTS, [allowed]).receipt.lines[0].n_changed == 0
    assert allowed.fingerprint == identity.fingerprint
    other = steer(direction(0), 1.0)  # each of a plan is judged by itself
    with pytest.raises(NoChangeError, match="number 1 of the plan"):
        forward(HOST, PROMPTS, [other, identity])


def test_a_mask_may_match_nothing_where_no_change_is_allowed() -> None:
    nowhere = steer(direction(0), 1.0, where=tokens("w50")).allow_no_change()
    [line] = forward(HOST, PROMPTS, [nowhere]).receipt.lines
    assert (line.n_masked, line.n_gated, line.n_changed) == (0, 0, 0)


def test_a_stored_receipt_of_older_names_still_loads_and_shows(tmp_path: Path) -> None:
    out = generate(HOST, PROMPTS, [steer(direction(0), 2.0)], decode=DECODE)
    out.save(tmp_path / "new.jsonl")
    head, *rows = (tmp_path / "new.jsonl").read_text().splitlines()
    old = json.loads(head)
    [line] = old["receipt"]["lines"]
    line["n_fired"] = line.pop("n_gated")
    del line["n_changed"]
    (tmp_path / "old.jsonl").write_text("\n".join([json.dumps(old), *rows]))
    [loaded] = Rollouts.load(tmp_path / "old.jsonl").receipt.lines
    assert loaded == replace(out.receipt.lines[0], n_changed=None)
    assert Rollouts.load(tmp_path / "old.jsonl").receipt.table().n_changed.isna().all()
    assert Rollouts.load(tmp_path / "new.jsonl").receipt == out.receipt


def test_without_a_measurement_there_is_no_number() -> None:
    for out in (
        forward(HOST, PROMPTS, [steer(direction(0), 2.0)], receipt="none"),
        generate(HOST, PROMPTS, [steer(direction(0), 2.0)], decode=DECODE, receipt="none"),
    ):
        [line] = out.receipt.lines
        assert (
            line.n_gated > 0
            and line.mean_relative is None
            and line.max_relative is None
            and out.receipt.kl is None
        )
        assert out.receipt.table()[["mean_relative", "max_relative"]].isna().all(axis=None)
    measured = forward(HOST, PROMPTS, [steer(direction(0), 2.0)]).receipt.table()
    assert (measured.mean_relative > 0).all() and measured.max_relative.dtype == "float64"


def test_saved_rollouts_keep_the_receipt_as_json(tmp_path: Path) -> None:
    out = generate(HOST, PROMPTS, [steer(direction(0), 2.0)], decode=DECODE)
    out.save(tmp_path / "a.jsonl")
    again = Rollouts.load(tmp_path / "a.jsonl")
    assert list(again) == list(out) and again.receipt.lines[0].n_gated == out.receipt.lines[0].n_gated > 0
    again.save(tmp_path / "b.jsonl")
    assert (tmp_path / "a.jsonl").read_text() == (tmp_path / "b.jsonl").read_text()
    generate(HOST, PROMPTS, decode=DECODE).save(tmp_path / "plain.jsonl")
    assert Rollouts.load(tmp_path / "plain.jsonl").receipt is None


def stream_at(host: Host, ids: tuple[int, ...], layer: int) -> Tensor:
    seen = []
    handle = host.layers[layer].register_forward_hook(
        lambda m, a, out: seen.append(out if torch.is_tensor(out) else out[0])
    )
    with torch.no_grad():
        host.model(torch.tensor([ids]))
    handle.remove()
    return seen[0][0]


def test_the_receipt_counts_what_a_recount_finds() -> None:
    v, a = direction(0), 2.0
    plan = [steer(v, a, where=generated(), when=above(v, 0.3)).allow_no_change()]  # in some rows it is shut
    out = generate(HOST, PROMPTS, plan, decode=DECODE, receipt="full")
    masked = fired = 0
    relative, kls = [], []
    for r in out:
        n, x = (
            len(r.prompt_ids),
            stream_at(HOST, r.all_ids, 1),
        )  # generated() leaves the prompt, and layer 1 reads 0..1
        clean = HOST.model(torch.tensor([r.all_ids])).logits[0].log_softmax(-1)
        edited = forward(HOST, [r], plan, receipt="none").logits[0].log_softmax(-1)
        kls += (edited.exp() * (edited - clean)).sum(-1)[n - 1 : -1].tolist()
        opened = (x @ v.vector > 0.3)[n:-1]  # the last token is never fed back
        masked, fired = masked + len(opened), fired + int(opened.sum())
        relative += (a / x[n:-1][opened].norm(dim=-1)).tolist()
        assert list(r.steered[1:]) == opened.tolist() and not r.steered[0]
    [line] = out.receipt.lines
    assert (line.n_masked, line.n_gated) == (masked, fired) and 0 < fired < masked
    assert line.n_changed == line.n_gated  # steering by 2 leaves no token as it was
    assert line.n_tokens == sum(len(r.all_ids) - 1 for r in out)
    assert line.mean_relative == pytest.approx(sum(relative) / len(relative), rel=1e-4)
    assert line.max_relative == pytest.approx(max(relative), rel=1e-4)
    assert out.receipt.kl == pytest.approx(sum(kls) / len(kls), rel=1e-3) and out.receipt.kl > 0
    assert out.receipt.n_kl_tokens == len(kls) and out.receipt.noop_parity == 0
    assert (line.verb, line.site, line.where) == ("steer", "resid_post.1", "generated()")
    assert line.fingerprint == plan[0].fingerprint and len(out.receipt.table()) == 1


def test_a_clamp_prints_what_a_second_reading_finds() -> None:
    features, ids = Features(CODER, (3, 5)), tuple(HOST.encode(PROMPTS[2]))
    receipt = forward(HOST, [ids], [clamp(features, 4.0)]).receipt
    x = stream_at(HOST, ids, 1)
    f = CODER.encode(x)
    edited = x + (4.0 - f[:, [3, 5]]) @ CODER.rows((3, 5))
    again = CODER.encode(edited)[:, [3, 5]].mean()
    assert receipt.lines[0].reread == pytest.approx(float(again), rel=1e-4)
    assert abs(receipt.lines[0].reread - 4.0) > 1e-3  # decoder rows overlap: not the clamped value


def test_receipt_modes_and_json() -> None:
    plan = [steer(direction(0), 1.0)]
    many = [f"w{i}" for i in range(20)]
    assert forward(HOST, many, plan).receipt.n_kl_rows == 5  # a quarter
    assert forward(HOST, many[:1], plan).receipt.n_kl_rows == 1
    assert forward(HOST, [f"w{i % 30}" for i in range(90)], plan).receipt.n_kl_rows == 16
    assert forward(HOST, many, plan, receipt="full").receipt.n_kl_rows == 20
    none = forward(HOST, many, plan, receipt="none").receipt
    assert none.kl is None and none.lines[0].n_gated == 20
    assert set(none.to_json()) >= {"lines", "kl", "noop_parity"}


@pytest.mark.parametrize(("mode", "batch_size"), [("sample", 64), ("sample", 8), ("full", 8)])
def test_the_replay_reads_a_row_aligned_source_at_the_rows_of_the_run(mode: str, batch_size: int) -> None:
    generator = torch.Generator().manual_seed(0)
    texts = [torch.randint(1, 40, (3 + i % 5,), generator=generator).tolist() for i in range(40)]
    source = torch.zeros(40, 8, HOST.d_model)
    for i, ids in enumerate(texts):
        source[i, : len(ids)] = stream_at(HOST, tuple(ids), 1)
    unlabelled = forward(
        HOST, texts, [patch(Whole("resid_post.1"), source)], batch_size=batch_size, receipt=mode
    ).receipt
    other = source.roll(1, 0) + source
    moved = forward(
        HOST, texts, [patch(Whole("resid_post.1"), other)], batch_size=batch_size, receipt=mode
    ).receipt
    assert unlabelled.kl == pytest.approx(0.0, abs=1e-6)  # rounding of another batch shape
    assert moved.kl > 1e-2 and unlabelled.n_kl_rows == moved.n_kl_rows == (10 if mode == "sample" else 40)
