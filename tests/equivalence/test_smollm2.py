"""The main path on a real model and real text, beside computations in plain transformers and torch.

Tokens that were written are checked by one pass over prompt and answer: where each is the one that plain
logits choose, the loop is the plain one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.generation.logits_process import (
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

import reasonmech as rm
from reasonmech.hosts import Host
from reasonmech.hosts.prompt import Prompt
from reasonmech.interventions import inside
from reasonmech.runtime.decoding.noise import gumbel, row_key
from reasonmech.site import Site
from reasonmech.testing import tiny_coder
from tests.layouts import smollm2_directory, smollm2_host

CODE = 'def f(xs: list[int]) -> int:\n    """Größer als 0."""\n\tfor x in xs:\n\t\tn += x\n    return n\n'
GERMAN = "Über allen Gipfeln ist Ruh, in allen Wipfeln spürest du kaum einen Hauch. Größe, Äpfel!"
CHINESE = "你好，世界。今天天气很好，我们去公园吧！等等，先吃饭。"
RUSSIAN = "Привет, мир! Подожди, проверим ещё раз: 2 + 2 = 4."
EMOJI = "Family 👩‍👩‍👧‍👦, flags 🇩🇪🇯🇵, skin 👍🏽👋🏿, heart ❤️‍🔥, 1️⃣ e\u0301. Done 🙂!"
TURNS = (("system", "Be terse. Sprich Deutsch."), ("user", "Wie heißt die Hauptstadt von 日本? 🙂"))
STEPS = 6

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def host() -> Host:
    return smollm2_host()


@pytest.fixture(scope="module")
def plain() -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(smollm2_directory(), dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    tokenizer = AutoTokenizer.from_pretrained(smollm2_directory())
    messages = [{"role": role, "content": text} for role, text in TURNS]
    chat = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return {
        "chat": chat,
        "code": CODE,
        "german": GERMAN,
        "chinese": CHINESE,
        "russian": RUSSIAN,
        "emoji": EMOJI,
        "short": "Hi",
    }


def ids_of(host: Host, text: str) -> list[int]:
    return host.tokenizer(text).input_ids


def logits_of(plain: PreTrainedModel, ids: Sequence[int]) -> Tensor:
    with torch.no_grad():
        return plain(input_ids=torch.tensor([list(ids)])).logits[0]


@cache
def clean_of(plain: PreTrainedModel, ids: tuple[int, ...]) -> Tensor:
    """Logits of a plain pass that nothing changes."""
    return logits_of(plain, ids)


@contextmanager
def changed(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """torch's own hook on what a module returns."""

    def hook(_: nn.Module, __: object, output: Tensor | tuple[Tensor, ...]) -> object:
        return change(output) if isinstance(output, Tensor) else (change(output[0]), *output[1:])

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def changed_input(module: nn.Module, change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    handle = module.register_forward_pre_hook(lambda _, inputs: (change(inputs[0]), *inputs[1:]))
    try:
        yield
    finally:
        handle.remove()


def assert_close(ours: Tensor, theirs: Tensor) -> None:
    """Within 1e-5 of the largest, and the same choice wherever two are further apart than 1e-3."""
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= 1e-5 * theirs.abs().max()
    if theirs.shape[-1] > 1000:
        first, second = theirs.topk(2, dim=-1).values.unbind(-1)
        clear = first - second > 1e-3
        assert torch.equal(ours.argmax(-1)[clear], theirs.argmax(-1)[clear])


def streams_of(plain: PreTrainedModel, ids: Sequence[int], layer: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits, and what stands at every kind of site of one layer, of a plain pass."""
    block, seen = plain.model.layers[layer], dict[str, Tensor]()

    def keep(name: str) -> Callable[[Tensor], Tensor]:
        return lambda x: seen.setdefault(name, x[0].clone())[None]

    with (
        changed_input(block.self_attn.o_proj, keep("z")),
        changed(block.self_attn, keep("attn_out")),
        changed_input(block.post_attention_layernorm, keep("resid_mid")),
        changed(block.mlp, keep("mlp_out")),
        changed(block, keep("resid_post")),
    ):
        logits = logits_of(plain, ids)
    return logits, {f"{name}.{layer}": x for name, x in seen.items()}


def test_logits_and_every_site_of_a_mixed_batch_are_those_of_plain_passes(host, plain, texts) -> None:
    layer = 14
    read = [*texts.values()]
    ours = rm.forward(host, read).logits
    sites = [f"{kind}.{layer}" for kind in ("z", "attn_out", "resid_mid", "mlp_out", "resid_post")]
    acts = rm.capture(host, read, [*sites, "z.14.3"], progress=False)
    for number, text in enumerate(read):
        assert host.encode(text) == ids_of(host, text)
        logits, streams = streams_of(plain, ids_of(host, text), layer)
        assert_close(ours[number], logits)
        rows = torch.tensor((acts.index["rollout"] == number).to_numpy().nonzero()[0])
        for site in sites:
            assert_close(acts.take(site, rows), streams[site])
        assert_close(acts.take("z.14.3", rows), streams["z.14"][:, 192:256])


def bytes_of(host: Host, ids: Sequence[int]) -> list[bytes]:
    """What each token of GPT-2's alphabet writes, from its name alone."""
    printed = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printed]
    alphabet = {chr(byte): byte for byte in printed} | {chr(256 + i): byte for i, byte in enumerate(others)}
    special = set(host.tokenizer.all_special_ids)
    names = [str(host.tokenizer.convert_ids_to_tokens(token)) for token in ids]
    return [
        name.encode() if token in special else bytes(alphabet[sign] for sign in name)
        for token, name in zip(ids, names, strict=True)
    ]


def ends_of(host: Host, ids: Sequence[int], word: str) -> list[bool]:
    """Tokens that hold the last byte of an occurrence."""
    pieces = bytes_of(host, ids)
    whole, at, ends = b"".join(pieces), -1, set[int]()
    while (at := whole.find(word.encode(), at + 1)) >= 0:
        ends.add(at + len(word.encode()))
    marks, stop = [], 0
    for piece in pieces:
        marks.append(any(stop < end <= stop + len(piece) for end in ends))
        stop += len(piece)
    return marks


def between(opens: Sequence[bool], closes: Sequence[bool]) -> list[bool]:
    marks, open_now = [], False
    for opening, closing in zip(opens, closes, strict=True):
        open_now = (open_now or opening) and not closing
        marks.append(open_now)
    return marks


@pytest.mark.parametrize(
    ("name", "word", "closing"),
    [
        ("german", "Wipfeln", ""),
        ("chinese", "等等", ""),
        ("russian", "Подожди", ""),
        ("emoji", "👩‍👩‍👧‍👦", ""),
        ("emoji", "🇩🇪", ""),
        ("code", "\t\tn", ""),
        ("chat", "<|im_start|>user", "<|im_end|>"),
        ("emoji", "flags", "👋🏿"),
    ],
)
def test_steering_at_words_is_a_hook_at_the_tokens_that_write_them(
    host, plain, texts, name: str, word: str, closing: str
) -> None:
    ids = ids_of(host, texts[name])
    vector = torch.randn(host.d_model, generator=torch.Generator().manual_seed(0))
    axis = rm.Direction.along(vector, "resid_post.12")
    where = inside(word, closing) if closing else rm.tokens(word)
    marks = ends_of(host, ids, word)
    if closing:
        marks = between(marks, ends_of(host, ids, closing))
    assert 0 < sum(marks) < len(ids)
    ours = rm.forward(host, [texts[name]], [rm.steer(axis, 20.0, where=where)], receipt="none").logits
    push = 20.0 * vector / vector.norm() * torch.tensor(marks)[:, None]
    with changed(plain.model.layers[12], lambda x: x + push):
        theirs = logits_of(plain, ids)
    assert (theirs - clean_of(plain, tuple(ids))).abs().max() > 0.3
    assert_close(ours[0], theirs)


def test_ablating_and_patching_are_hooks_on_the_plain_model(host, plain, texts) -> None:
    vector = torch.randn(host.d_model, generator=torch.Generator().manual_seed(1))
    unit, axis = vector / vector.norm(), rm.Direction.along(vector, "resid_post.12")
    read = [texts["chat"], texts["russian"]]
    plan = [
        rm.ablate(rm.Whole(Site.parse("z.5.2"))),
        rm.ablate(axis),
        rm.ablate(rm.Whole(Site.parse("mlp_out.20"))),
    ]
    layers = plain.model.layers
    for text, ours in zip(read, rm.forward(host, read, plan, receipt="none").logits, strict=True):
        no_head = torch.ones(host.n_heads * host.d_head)
        no_head[2 * host.d_head : 3 * host.d_head] = 0
        with (
            changed_input(layers[5].self_attn.o_proj, lambda x, kept=no_head: x * kept),
            changed(layers[12], lambda x: x - (x @ unit)[..., None] * unit),
            changed(layers[20].mlp, torch.zeros_like),
        ):
            assert_close(ours, logits_of(plain, ids_of(host, text)))
    source, target = "Die Hauptstadt von Österreich ist", "The capital of France, you know, is"
    donor = rm.capture(host, [source], ["resid_post.15"], progress=False).at("resid_post.15")[-1]
    _, streams = streams_of(plain, ids_of(host, source), 15)
    taken = streams["resid_post.15"][-1]
    patch = rm.patch(rm.Whole(Site.parse("resid_post.15")), donor, where=rm.prompt(start=-1))
    ours = rm.forward(host, [target, "Hi"], [patch], receipt="none").logits[0]
    with changed(layers[15], lambda x: torch.cat((x[:, :-1], taken[None, None]), 1)):
        theirs = logits_of(plain, ids_of(host, target))
    assert (theirs - clean_of(plain, tuple(ids_of(host, target)))).abs().max() > 1
    assert_close(ours, theirs)


def test_greedy_and_sampled_tokens_are_those_that_plain_logits_choose(host, plain, texts) -> None:
    prompts = [texts["chat"], "你好，", CODE[:40], EMOJI, "Hallo! Größe:"]
    greedy = rm.generate(host, prompts, decode=rm.Decode(max_new_tokens=STEPS), progress=False)
    for rollout in greedy:
        assert list(rollout.prompt_ids) == ids_of(host, rollout.problem.prompt)
        chosen = logits_of(plain, rollout.all_ids)[len(rollout.prompt_ids) - 1 : -1].argmax(-1)
        assert chosen.tolist() == list(rollout.ids)
        assert rollout.text == host.tokenizer.decode(rollout.ids, skip_special_tokens=False)
        assert (rollout.stop == "eos") == (rollout.ids[-1] == plain.generation_config.eos_token_id)
        assert rollout.stop == "eos" or len(rollout.ids) == STEPS
    draw = {"top_k": 40, "top_p": 0.9, "min_p": 0.01, "repetition_penalty": 1.2}
    decode = rm.Decode(max_new_tokens=STEPS, temperature=0.7, samples=2, seed=3, **draw)
    processors = [
        RepetitionPenaltyLogitsProcessor(1.2),
        TemperatureLogitsWarper(0.7),
        TopKLogitsWarper(40),
        TopPLogitsWarper(0.9),
        MinPLogitsWarper(0.01),
    ]
    sampled = rm.generate(host, prompts, decode=decode, progress=False)
    for rollout in sampled:
        lines, ids = logits_of(plain, rollout.all_ids), list(rollout.all_ids)
        key = torch.tensor([row_key(3, rollout.problem.id, rollout.sample)])
        for at in range(len(rollout.prompt_ids), len(ids)):
            scores = lines[at - 1][None]
            for process in processors:
                scores = process(torch.tensor([ids[:at]]), scores)
            assert int((scores + gumbel(key, torch.tensor([at]), scores.shape[-1])).argmax()) == ids[at]
    assert len({rollout.ids for rollout in sampled}) > len(prompts)


def test_steered_decoding_of_prompts_of_very_different_lengths_is_the_hook_at_every_step(
    host, plain, texts
) -> None:
    vector = torch.randn(host.d_model, generator=torch.Generator().manual_seed(0))
    where = rm.prompt(start=-1) | rm.generated()
    plan = [rm.steer(rm.Direction.along(vector, "resid_post.12"), 30.0, where=where)]
    prompts = ["Hi", "你好，", texts["chat"], texts["emoji"] + texts["code"]]
    decode = rm.Decode(max_new_tokens=STEPS)
    rollouts = rm.generate(host, prompts, plan, decode=decode, receipt="none", progress=False)
    for rollout in rollouts:
        n, ids = len(rollout.prompt_ids), rollout.all_ids
        push = 30.0 * vector / vector.norm() * (torch.arange(len(ids)) >= n - 1)[:, None]
        with changed(plain.model.layers[12], lambda x, by=push: x + by):
            lines = logits_of(plain, ids)
        assert lines[n - 1 : -1].argmax(-1).tolist() == list(rollout.ids)
    [unsteered] = rm.generate(host, prompts[:1], decode=decode, progress=False)
    assert unsteered.ids != rollouts[0].ids


def test_lens_features_and_views_read_what_plain_activations_say(host, plain, texts) -> None:
    vector = torch.randn(host.d_model, generator=torch.Generator().manual_seed(0))
    axis = rm.Direction.along(vector, "resid_post.12")
    with torch.no_grad():
        lens = plain.lm_head(plain.model.norm(vector / vector.norm()))
        lens = lens - lens.mean()  # what is promoted beside other tokens
    top = rm.logit_lens(host, axis, k=5)
    promoted = top[top["side"] == "promoted"]
    assert promoted["token_id"].tolist() == lens.topk(5).indices.tolist()
    assert torch.allclose(torch.tensor(promoted["logit"].tolist()), lens.topk(5).values, rtol=1e-4)
    coder = tiny_coder(host, "resid_post.12")
    for text in (texts["emoji"], texts["chat"]):
        ids = ids_of(host, text)
        _, streams = streams_of(plain, ids, 12)
        stream = streams["resid_post.12"]
        view = rm.look(host, text, axis)
        expected = stream @ (vector / vector.norm())
        assert_close(torch.tensor(view.values[:, 0]).float(), expected)
        assert "".join(view.pieces) == text and "�" not in view.fragment
        read = rm.look(host, text, coder, [0, 3]).values
        with torch.no_grad():
            codes = coder.encode(stream)[:, [0, 3]]
        assert torch.allclose(torch.tensor(read).float(), codes, atol=1e-3 * float(codes.abs().max()))
    pieces = rm.look(host, texts["emoji"], axis).pieces
    assert {"👩‍👩‍👧‍👦", "🇩🇪", "🇯🇵", "👍🏽", "👋🏿", "❤️‍🔥", "1️⃣"} <= {piece.strip() for piece in pieces}


def test_a_stop_string_ends_an_answer_at_the_token_that_completes_it(host) -> None:
    for prompt in ("The capital of France is", "你好，"):
        [whole] = rm.generate(host, [prompt], decode=rm.Decode(max_new_tokens=STEPS), progress=False)
        pieces = whole.pieces
        for at in range(1, STEPS - 1):
            stop = (pieces[at] + pieces[at + 1])[-1 - len(pieces[at + 1]) :]
            if not pieces[at] or not pieces[at + 1] or "�" in stop or stop in "".join(pieces[: at + 1]):
                continue
            decode = rm.Decode(max_new_tokens=STEPS, stop_strings=(stop,))
            [stopped] = rm.generate(host, [prompt], decode=decode, progress=False)
            assert stopped.stop == "token" and stopped.ids == whole.ids[: at + 2]
            break
        else:
            raise AssertionError(f"no border between tokens in {whole.text!r}")


def test_a_chat_prompt_is_the_tokenizers_own(host, plain) -> None:
    system, user = TURNS[0][1], TURNS[1][1]
    in_chat = host.with_prompt(Prompt(chat=True, system=system))
    [rollout] = rm.generate(in_chat, [user], decode=rm.Decode(max_new_tokens=3), progress=False)
    messages = [{"role": role, "content": text} for role, text in TURNS]
    template = host.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
    assert list(rollout.prompt_ids) == list(template["input_ids"])
    lines = logits_of(plain, rollout.all_ids)[len(rollout.prompt_ids) - 1 : -1]
    assert lines.argmax(-1).tolist() == list(rollout.ids)


@pytest.mark.slow
def test_two_thousand_tokens_are_read_beside_short_texts(host, plain, texts) -> None:
    ids = (ids_of(host, "\n".join(texts.values())) * 6)[:2000]
    assert len(ids) == 2000
    read = [texts["short"], host.tokenizer.decode(ids), texts["chat"]]
    again = ids_of(host, read[1])
    logits, streams = streams_of(plain, again, 14)
    assert_close(rm.forward(host, read).logits[1], logits)
    acts = rm.capture(host, read, ["resid_post.14"], progress=False)
    rows = torch.tensor((acts.index["rollout"] == 1).to_numpy().nonzero()[0])
    assert_close(acts.take("resid_post.14", rows), streams["resid_post.14"])
