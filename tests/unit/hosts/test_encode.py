"""What stands in front of a text and behind it: one BOS, no end, and each model of a pair its own tokens."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, processors
from transformers import PreTrainedTokenizerFast

import reasonmech as rm
from reasonmech.errors import DataError
from reasonmech.hosts import Host, ModelPair, load_host
from reasonmech.hosts.vocabulary import encode
from reasonmech.hybrid import DisagreementGate, Hybrid, OfThinking, Takeover
from reasonmech.interventions import Intervention, above, at, disagree, steer
from reasonmech.interventions.axes import Direction
from reasonmech.pairwise import chosen_log_probs
from reasonmech.runtime import Decode, capture, forward, generate
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.runtime.decoding.prompts import as_read_by
from reasonmech.tasks.chain import OneWordKinds
from reasonmech.testing import move_matrices, tiny_host, tiny_tokenizer
from tests.layouts import LAYOUTS, layout, layout_host, layout_model, smollm2_host

WITH_BOS = ("llama2", "gemma")


def appending(name: str, single: str) -> PreTrainedTokenizerFast:
    """A layout's tokenizer whose post-processor writes `single`."""
    words = copy.deepcopy(layout(name))
    special = [(token, words.convert_tokens_to_ids(token)) for token in ("<s>", "</s>")]
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=single, pair=f"{single} $B", special_tokens=special
    )
    return words


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("text", ["w1 w2", "Wait, let me check.", " a", "", "\nx", "Answer:"])
def test_a_plain_text_is_what_the_tokenizer_says(name: str, text: str) -> None:
    assert layout_host(name).encode(text) == layout(name).encode(text)


@pytest.mark.parametrize("name", WITH_BOS)
@pytest.mark.parametrize("front", ["", " ", "\n", " \n\t", "\r\n"])
def test_a_bos_that_the_text_brings_is_the_only_one_and_first(name: str, front: str) -> None:
    host = layout_host(name)
    ids = host.encode(f"{front}<s>Wait, let me check.")
    assert ids[0] == 1 and ids.count(1) == 1
    assert ids == layout(name).encode("<s>Wait, let me check.", add_special_tokens=False)


@pytest.mark.parametrize("name", WITH_BOS)
@pytest.mark.parametrize("single", ["<s> $A </s>", "$A </s>", "$A </s> </s>"])
def test_no_end_stands_behind_a_text_that_goes_on(name: str, single: str) -> None:
    words = appending(name, single)
    host = Host(layout_model(name), words, name="ends")
    front = [1] if single.startswith("<s>") else []
    for text in ("Wait, let me check.", "7", ""):
        plain = words.encode(text, add_special_tokens=False)
        assert words.encode(text)[-1] == 2 and host.encode(text) == front + plain
    assert host.encode("\n<s>Answer:").count(1) == 1 and host.encode("\n<s>Answer:")[-1] != 2
    assert host.encode("Yes.</s>")[-1] == 2  # an end that the text itself has
    assert host.encode("Yes.</s>").count(2) == 1
    [rollout] = generate(host, ["Answer:"], decode=Decode(max_new_tokens=2), progress=False)
    assert list(rollout.prompt_ids) == host.encode("Answer:")


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("end", ["<|im_end|>", "<end>"])
def test_an_appended_end_that_the_special_map_does_not_name_is_left_out(name: str, end: str) -> None:
    words = copy.deepcopy(layout(name))
    words.add_tokens([AddedToken(end, special=True)])
    one = words.convert_tokens_to_ids(end)
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"$A {end}", pair=f"$A $B {end}", special_tokens=[(end, one)]
    )
    for text in ("Wait, let", "w1", f"Yes.{end}", ""):
        assert encode(words, text) == words.encode(text)[:-1] != words.encode(text)


FRONTS = {
    "[gMASK] <sop>": ("", "[gMASK]<sop>", "<sop>", "[gMASK]<sop>[gMASK]<sop>", " [gMASK]<sop>", "[gMASK]"),
    "[CLS]": ("", "[CLS]", "[CLS][CLS]", "\n[CLS]", "[PAD][PAD][CLS]", "[PAD][CLS][CLS]"),
}


@pytest.mark.parametrize("name", ["qwen2", "gemma", "llama2", "llama_always", "gpt2_prefix", "smollm2"])
@pytest.mark.parametrize("front", FRONTS)
def test_what_stands_in_front_of_a_text_stands_there_once(name: str, front: str) -> None:
    words = copy.deepcopy(layout(name))
    words.add_tokens(
        [AddedToken(tag, special=True) for tag in ("[gMASK]", "<sop>", "[CLS]", "[SEP]", "[PAD]")]
    )
    words.pad_token = "[PAD]"
    special = [(tag, words.convert_tokens_to_ids(tag)) for tag in (*front.split(), "[SEP]")]
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{front} $A [SEP]", pair=f"{front} $A $B [SEP]", special_tokens=special
    )
    once = encode(words, "Wait, let me check.")
    assert once == words.encode("Wait, let me check.")[:-1]
    for brought in FRONTS[front]:
        assert encode(words, f"{brought}Wait, let me check.") == once, brought
        assert encode(words, brought) == once[: len(front.split())]
    assert encode(words, "Wait[CLS].").count(words.convert_tokens_to_ids("[CLS]")) == 1 + (front == "[CLS]")
    assert encode(words, "[PAD]Wait.")[len(front.split())] == words.convert_tokens_to_ids("[PAD]")
    assert encode(words, "Wait.[SEP]")[-1] == words.convert_tokens_to_ids("[SEP]")


@pytest.mark.parametrize("name", WITH_BOS)
@pytest.mark.parametrize(
    "front",
    ["<s><s>", "<pad><s>", "<pad><pad><s>", " <s><s>", "<s>", "<s>\n<s>", "\n<s> \n\n<s>", "<s> <pad> <s>"],
)
def test_a_bos_written_twice_or_behind_padding_stands_once(name: str, front: str) -> None:
    host = layout_host(name)
    assert (
        host.encode(f"{front}Wait, let me check.")
        == host.encode("Wait, let me check.")[:1]
        + layout(name).encode("<s>Wait, let me check.", add_special_tokens=False)[1:]
    )


def test_a_tokenizer_whose_bos_is_its_end_keeps_it_in_front() -> None:
    words = appending("gemma", "<s> $A")
    words.eos_token = "<s>"
    host = Host(layout_model("gemma"), words, name="one")
    assert host.encode("Yes.")[0] == 1 and host.encode("") == [1] and host.encode("<s>Yes.").count(1) == 1


def test_a_chat_template_with_a_bos_is_not_given_another() -> None:
    words = copy.deepcopy(layout("gemma"))
    words.chat_template = (
        "\n{{ bos_token }}{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    )
    host = Host(layout_model("gemma"), words, name="chat")
    text = words.apply_chat_template([{"role": "user", "content": "Is it so?"}], tokenize=False)
    [rollout] = generate(host, [text], decode=Decode(max_new_tokens=2), progress=False)
    assert rollout.prompt_ids.count(1) == 1 and rollout.prompt_ids[0] == 1
    assert host.decode(rollout.prompt_ids).endswith("user: Is it so?\n")


# siblings that name an id otherwise -----------------------------------------------------------------------


def renamed(words: PreTrainedTokenizerFast, names: dict[str, str]) -> PreTrainedTokenizerFast:
    """The same ids under other names."""
    text = words.backend_tokenizer.to_str()
    for before, after in names.items():
        text = text.replace(json.dumps(before), json.dumps(after))
    special = {"pad_token": words.pad_token, "eos_token": words.eos_token, "bos_token": words.bos_token}
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(text),
        **{role: names.get(str(token), token) for role, token in special.items() if token is not None},
    )


def siblings(name: str = "qwen2", *, change: float = 0.5) -> ModelPair:
    """Two random models; the thinking one calls an id `<think>` that the base calls otherwise."""
    words = copy.deepcopy(layout(name))
    words.add_special_tokens({"additional_special_tokens": ["<|box_start|>", "<|box_end|>"]})
    theirs = renamed(words, {"<|box_start|>": "<think>", "<|box_end|>": "</think>"})
    model = layout_model(name)
    model.resize_token_embeddings(len(words), mean_resizing=False)
    other = copy.deepcopy(model)
    move_matrices(other, change, torch.Generator().manual_seed(1))
    hosts = (Host(model, words, name="base"), Host(other, theirs, name="thinking"))
    return ModelPair("r1", *hosts, accept=("special_tokens", "added_tokens", "encoding"))


PROMPTS = ["x<think>Okay</think>y (<think>z</think>) 3 + 4 =", "Is it so? Answer:", "<think>", "x </think>"]
KINDS = OneWordKinds({"one": "w1"}, tiny_tokenizer())


@pytest.mark.parametrize("name", ["qwen2", "llama2", "gemma"])
def test_takeover_reads_the_prompt_as_the_thinking_model_does(name: str) -> None:
    pair, decode = siblings(name), Decode(max_new_tokens=12)
    assert len(pair.thinking.encode(PROMPTS[0])) < len(pair.base.encode(PROMPTS[0]))
    hybrid = Hybrid(pair, gate=DisagreementGate(), selector=OfThinking(), executor=Takeover(), kinds=KINDS)
    for batch in (4, 1):
        settings = decode.model_copy(update={"batch_size": batch})
        alone = generate(pair.thinking, PROMPTS, decode=settings, progress=False)
        taken = generate(hybrid, PROMPTS, decode=settings, progress=False)
        assert [r.ids for r in taken] == [r.ids for r in alone]
        assert [list(r.prompt_ids) for r in taken] == [pair.base.encode(p) for p in PROMPTS]
    read = as_read_by(pair.base, alone)
    assert [list(r.prompt_ids) for r in read] == [pair.base.encode(prompt) for prompt in PROMPTS]
    assert [r.ids for r in read] == [r.ids for r in alone] and read.task == alone.task
    assert as_read_by(pair.thinking, list(alone)).rollouts == alone.rollouts


@pytest.mark.parametrize("name", ["qwen2", "llama2", "gemma"])
def test_each_model_is_measured_behind_its_own_encoding_of_the_prompt(name: str) -> None:
    pair, decode = siblings(name), Decode(max_new_tokens=6)
    for writer in (pair.base, pair.thinking):
        rollouts = generate(writer, PROMPTS, decode=decode, progress=False)
        measured = list(chosen_log_probs(pair, rollouts))
        for host, side in ((pair.base, 0), (pair.thinking, 1)):
            for rollout, both in zip(rollouts, measured, strict=True):
                prompt, answer = host.encode(rollout.problem.prompt), list(rollout.ids)
                with torch.no_grad():
                    logits = host.model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
                assert torch.allclose(both[side], logits.log_softmax(-1), atol=1e-4)


def test_a_rollout_is_captured_in_the_tokens_that_it_holds() -> None:
    pair, site = siblings(), "resid_post.1"
    prompt = "x <think>Okay</think>y. Answer:"
    written = generate(pair.thinking, prompt, decode=Decode(max_new_tokens=4), progress=False)
    text = capture(pair.base, prompt, site, progress=False).at(site)
    raw = capture(pair.base, written, site, progress=False)
    read = capture(pair.base, as_read_by(pair.base, written), site, progress=False)
    assert list(raw.index["token"]) == list(written[0].all_ids)
    assert list(read.index["token"]) == [*pair.base.encode(prompt), *written[0].ids]
    assert torch.allclose(read.at(site)[: len(text)], text, atol=1e-4)


def test_a_closed_gate_leaves_the_base_its_own_tokens() -> None:
    pair, decode = siblings(), Decode(max_new_tokens=12)
    hybrid = Hybrid(
        pair,
        gate=rm.hybrid.AtRandom(0.0),
        selector=OfThinking(),
        executor=Takeover(),
        kinds=KINDS,
    )
    base = generate(pair.base, PROMPTS, decode=decode, progress=False)
    assert [r.ids for r in generate(hybrid, PROMPTS, decode=decode, progress=False)] == [r.ids for r in base]


def test_a_prompt_too_long_for_either_model_is_refused_before_any_work() -> None:
    pair = siblings()
    hybrid = Hybrid(pair, gate=DisagreementGate(), selector=OfThinking(), executor=Takeover(), kinds=KINDS)
    room = pair.thinking.n_positions - len(pair.thinking.encode(PROMPTS[0]))
    with pytest.raises(DataError, match=r"(?s)'base' has no more positions"):
        generate(hybrid, PROMPTS[:1], decode=Decode(max_new_tokens=room), progress=False)


def test_a_gate_on_the_partners_choice_reads_the_prompt_as_the_partner_does() -> None:
    """A loop without cache or batch, in which each model reads its own tokens of the prompt."""
    pair, decode = siblings(change=0.1), Decode(max_new_tokens=8)
    v = Direction.along(torch.ones(32), "resid_post.1")
    decoder = HostDecoder.of(pair.base, [steer(v, 9.0, when=disagree())], partner=pair.thinking)
    rollouts = generate(decoder, PROMPTS, decode=decode, progress=False)
    steered = 0
    for rollout, prompt in zip(rollouts, PROMPTS, strict=True):
        ours, theirs = pair.base.encode(prompt), pair.thinking.encode(prompt)
        opened = set[int]()
        for written, flag in zip(rollout.ids, rollout.steered, strict=True):
            plan = [steer(v, 9.0, where=at(*opened))] if opened else []
            clean = last_logits(pair.base, ours, plan).argmax()
            open_now = bool(clean != last_logits(pair.thinking, theirs, []).argmax())
            opened |= {len(ours) - 1} if open_now else set()
            plan = [steer(v, 9.0, where=at(*opened))] if opened else []
            assert int(last_logits(pair.base, ours, plan).argmax()) == written and flag == open_now
            steered += open_now
            ours, theirs = [*ours, written], [*theirs, written]
    assert 0 < steered < sum(len(r.ids) for r in rollouts)
    assert rollouts.receipt is not None and rollouts.receipt.lines[0].n_gated == steered


def last_logits(host: Host, ids: list[int], plan: list[Intervention]) -> torch.Tensor:
    return forward(host, [ids], plan, receipt="none").logits[0][-1]


def test_a_gate_on_the_partners_stream_refuses_a_prompt_of_other_tokens() -> None:
    pair = siblings()
    v = Direction.along(torch.ones(32), "resid_post.1")
    gate = above(v, -1e9, role="thinking")
    decoder = HostDecoder.of(pair.base, [steer(v, 9.0, when=gate)], partner=pair.thinking)
    decode = Decode(max_new_tokens=4)
    assert generate(decoder, PROMPTS[1:2], decode=decode, progress=False)
    with pytest.raises(DataError, match=r"is \d+ tokens to 'base'.* to 'thinking'"):
        generate(decoder, PROMPTS[:1], decode=decode, progress=False)


def test_the_real_tokenizer_with_renamed_ids(tmp_path: Path) -> None:
    words = layout("smollm2")
    names = {"<repo_name>": "<think>", "<reponame>": "</think>"}
    theirs = renamed(words, names)
    base = smollm2_host()
    thinking = load_host(base.model, tokenizer=theirs, name="thinking")
    pair = ModelPair("p", base, thinking, accept=("special_tokens", "added_tokens", "encoding"))
    prompt = "<|im_start|>user\nWhat is 2+2?<|im_end|>\n<|im_start|>assistant\n<think>\nFour.\n</think>\n\n"
    hybrid = Hybrid(pair, gate=DisagreementGate(), selector=OfThinking(), executor=Takeover(), kinds=KINDS)
    decode = Decode(max_new_tokens=8)
    [alone] = generate(thinking, [prompt], decode=decode, progress=False)
    [taken] = generate(hybrid, [prompt], decode=decode, progress=False)
    assert taken.ids == alone.ids and len(taken.prompt_ids) > len(alone.prompt_ids)


def test_one_host_reads_as_before() -> None:
    host = tiny_host()
    assert host.encode("w1 . <eos>") == [7, 3, 1] and host.encode("") == []
