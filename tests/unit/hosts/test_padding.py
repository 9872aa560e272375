"""More rows than tokens, and tokens without a row: what no text can be stays apart, and is said."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AddedToken, PreTrainedTokenizerFast

import reasonmech as rm
from reasonmech.errors import ArgumentError, DataError, MismatchError
from reasonmech.hosts import Host, ModelPair
from reasonmech.hybrid import DisagreementGate, Hybrid, OfThinking, Takeover, train_vectors
from reasonmech.interventions import disagree, steer
from reasonmech.interventions.axes import Direction
from reasonmech.organisms.ground_truth.splice import splice
from reasonmech.runtime import Decode, capture, forward, generate
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.tasks.chain import OneWordKinds, word_tokenizer
from reasonmech.testing import move_matrices, tiny_host, tiny_tokenizer

PROMPTS = [f"w{i} w{i + 7} w{3 * i}" for i in range(8)]
KINDS = OneWordKinds({"one": "w1"}, tiny_tokenizer())


def padded(rows: int, *, seed: int = 0, change: float = 0.0, unused: float = 1.0) -> Host:
    """A host with `rows` rows for 64 tokens; the head's rows beyond them are scaled by `unused`."""
    host = tiny_host(seed=seed)
    model = host.model
    noise = torch.Generator().manual_seed(seed + 1)
    move_matrices(model, change, noise)
    model.resize_token_embeddings(rows, mean_resizing=False)
    with torch.no_grad():
        head = model.get_output_embeddings().get_parameter("weight")
        head[64:] = unused * torch.randn(rows - 64, 32, generator=noise) * head[:64].std()
    return Host(model, tiny_tokenizer(), name=f"padded-{rows}")


def pair_of(base_rows: int, thinking_rows: int) -> ModelPair:
    base, thinking = padded(base_rows), padded(thinking_rows, change=0.4, unused=0.0)
    return ModelPair("p", base, thinking, accept=("padding",))


def test_a_pair_that_is_padded_differently_is_refused_with_the_way_out_and_says_so() -> None:
    with pytest.raises(
        MismatchError, match=r"(?s)padding: 128 in base, 96 in thinking.*accept=\['padding'\]"
    ):
        ModelPair("p", padded(128), padded(96))
    pair = pair_of(128, 96)
    assert [(d.kind, d.what) for d in pair.differences] == [("padding", "128 in base, 96 in thinking")]
    assert "differing in padding" in repr(pair) and "differing" not in repr(rm.load_pair("tiny-when"))
    assert rm.load_pair(base=padded(128), thinking=padded(96), accept=["padding"]).differences
    larger = Host(tiny_host(vocab_size=100).model, tiny_tokenizer(100), name="larger")
    with pytest.raises(MismatchError, match="logits: 64 in base, 100 in thinking"):  # those rows are words
        ModelPair("p", tiny_host(), larger, accept=("padding", "added_tokens"))


@pytest.mark.parametrize("rows", [(128, 96), (96, 128), (64, 90)])
def test_a_hybrid_of_two_paddings_is_the_thinking_model(rows: tuple[int, int]) -> None:
    pair, decode = pair_of(*rows), Decode(max_new_tokens=16)
    for temperature in (0.0, 1.0):
        settings = decode.model_copy(update={"temperature": temperature})
        alone = generate(pair.thinking, PROMPTS, decode=settings, progress=False)
        hybrid = Hybrid(
            pair, gate=DisagreementGate(), selector=OfThinking(), executor=Takeover(), kinds=KINDS
        )
        taken = generate(hybrid, PROMPTS, decode=settings, progress=False)
        shared = min(rows)
        assert all(max(r.ids) < shared for r in taken)
        same = [a.ids == b.ids for a, b in zip(alone, taken, strict=True) if max(a.ids) < shared]
        assert same and all(same)


@pytest.mark.parametrize("rows", [(128, 96), (96, 128)])
def test_vectors_gates_and_splices_run_on_two_paddings(rows: tuple[int, int]) -> None:
    pair, decode = pair_of(*rows), Decode(max_new_tokens=16)
    written = generate(pair.thinking, PROMPTS, decode=decode, progress=False)
    config = rm.hybrid.VectorConfig(steps=3, min_count=1)
    trained = train_vectors(pair.base, "resid_post.1", written, kinds=KINDS, config=config, progress=False)
    hybrid = Hybrid(
        pair, gate=DisagreementGate(), selector=OfThinking(), executor=trained.vectors, kinds=KINDS
    )
    assert any(any(r.steered) for r in generate(hybrid, PROMPTS, decode=decode, progress=False))
    v = Direction.along(torch.ones(32), "resid_post.1")
    gated = HostDecoder.of(pair.base, [steer(v, 9.0, when=disagree())], partner=pair.thinking)
    assert generate(gated, PROMPTS, decode=decode, progress=False).receipt is not None


def test_splices_of_two_paddings_run() -> None:
    pair = rm.load_pair("tiny-when")
    model = copy.deepcopy(pair.thinking.model)
    model.resize_token_embeddings(120, mean_resizing=False)
    wide = Host(model, pair.thinking.tokenizer, name="wide")
    problems = rm.load_task("chain", n=3)
    decode = Decode(max_new_tokens=60)
    for onset, executor in ((wide, pair.base), (pair.base, wide)):
        narrow = pair.thinking if onset is wide else pair.base
        other = pair.thinking if executor is wide else pair.base
        ours = generate(splice(onset=onset, executor=executor), problems, decode=decode, progress=False)
        plain = generate(splice(onset=narrow, executor=other), problems, decode=decode, progress=False)
        assert all(max(r.ids) < 90 for r in ours) and len(ours) == len(plain)


def test_a_padded_id_is_visible_in_the_logit_lens_and_harms_no_environment() -> None:
    host = padded(128)
    v = Direction.along(torch.randn(32, generator=torch.Generator().manual_seed(0)), "resid_post.1")
    table = rm.logit_lens(host, v, k=100)
    beyond = table[table.token_id >= 64]
    assert len(beyond) > 10 and (beyond.token == [f"[id {i}]" for i in beyond.token_id]).all()
    assert (table.token.str.strip() != "").all()
    assert (host.token_text(7), host.token_text(130)) == ("w1", "[id 130]")
    with pytest.raises(ArgumentError, match="token is the integer -1"):
        host.token_text(-1)
    problems = rm.load_task("chain", n=1)
    scribe = problems.environment.scribe(problems[0], 0, word_tokenizer())
    assert scribe.write(500) == (500, False)


def with_added(token: str, *, role: str = "") -> PreTrainedTokenizerFast:
    words = tiny_tokenizer()
    words.add_tokens([AddedToken(token, special=True)])
    if role:
        setattr(words, role, token)
    return words


def test_an_added_token_without_a_row_is_no_reason_to_refuse_a_model() -> None:
    host = Host(tiny_host().model, with_added("<image>", role="pad_token"), name="gemma3")
    assert host.encode("w1 w2") == [7, 8] and host.pad_id == 1  # the pad token has no row
    decode = Decode(max_new_tokens=4)
    assert generate(host, ["w1", "w1 w2 w3"], decode=decode, progress=False)
    for call in (
        lambda: host.encode("w1 <image> w2"),
        lambda: forward(host, ["w1 <image>"]),
        lambda: capture(host, ["w1 <image>"], ["resid_post.0"], progress=False),
        lambda: generate(host, ["w1 <image>"], decode=decode, progress=False),
    ):
        with pytest.raises(DataError, match=r"(?s)w1 <image>.* has token 64 \('<image>'\).*0 \.\. 63"):
            call()
    for ids in ([7, 64], [7, -1]):
        with pytest.raises(DataError, match=rf"text 0 has token {ids[1]} "):
            forward(host, [ids])
    with pytest.raises(MismatchError, match="has id 99, the model has 64 rows"):
        Host(tiny_host().model, tiny_tokenizer(100), name="x")


def test_rollouts_of_a_sibling_with_more_rows_are_refused_where_they_cannot_be_read() -> None:
    wide = padded(128, unused=30.0)  # writes ids beyond 64
    written = generate(wide, PROMPTS, decode=Decode(max_new_tokens=8), progress=False)
    assert any(max(r.ids) >= 64 for r in written)
    with pytest.raises(DataError, match=r"the answer to problem .* has token \d+ "):
        train_vectors(tiny_host(), "resid_post.1", written, kinds=KINDS, progress=False)
    with pytest.raises(DataError, match=r"(?s)has token \d+ .*0 \.\. 63"):
        forward(tiny_host(), list(written))
