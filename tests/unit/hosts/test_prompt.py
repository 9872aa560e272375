"""Prompts: what a model reads of a problem, and which are refused."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import ArgumentError, BindError, ConfigError, DataError, MismatchError
from reasonmech.hosts import Host, Prompt, Shot, load_pair
from reasonmech.hosts.prompt import reworded, with_beginning
from reasonmech.pairwise import PairRollouts, chosen_log_probs
from reasonmech.runtime import as_read_by
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.runtime.decoding.prompts import as_problems, draw_starts, encode_prompts
from tests.layouts import LAYOUTS, REAL_TEXT, layout, layout_host, layout_model

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] | trim }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
WITH_BOS = "{{ bos_token }}" + CHATML
PROBLEM = rm.Problem("p", "Is it 4?\nAnswer:", "yes", {"question": "Is it {4}?", "level": 3})
SHOT = Shot(question="Is it so?", answer="yes")


def chat_host(name: str, template: str = CHATML) -> Host:
    tokenizer = copy.deepcopy(layout(name))
    tokenizer.chat_template = template
    return Host(layout_model(name), tokenizer, name=name)


def test_the_plain_prompt_is_the_tasks_own() -> None:
    host = layout_host("qwen2")
    assert host.prompt == Prompt() and host.prompt.is_plain
    assert host.prompt.text(PROBLEM, host.tokenizer) == PROBLEM.prompt
    assert host.with_prompt(Prompt()).fingerprint == host.fingerprint
    assert host.with_prompt(Prompt(prefix=" so")).fingerprint != host.fingerprint
    assert host.with_prompt(Prompt(prefix=" so")).model_identity() == host.model_identity()  # coders go on


def test_a_template_is_filled_once() -> None:
    tokenizer = layout("qwen2")
    prompt = Prompt(template="{level} {{x}} \\boxed{}: {question}\nA:", prefix=" Wait")
    assert prompt.text(PROBLEM, tokenizer) == "3 {x} \\boxed{}: Is it {4}?\nA: Wait"
    shots = Prompt(template="Q: {question}\nA:", examples=(SHOT,), between="\n--\n")
    assert shots.text(PROBLEM, tokenizer) == "Q: Is it so?\nA: yes\n--\nQ: Is it {4}?\nA:"
    assert Prompt(template="{question}").text(rm.Problem("q", "only this", ""), tokenizer) == "only this"
    with pytest.raises(DataError, match=r"'q' has no level"):
        prompt.text(rm.Problem("q", "only this", ""), tokenizer)


@pytest.mark.parametrize(
    "wrong",
    [
        {"system": "Be brief."},
        {"enable_thinking": True},
        {"template": "Question:"},
        {"template": "{level} {prompt}", "examples": (SHOT,)},
        {"chat": True, "between": "\n"},
        {"chat": 1},
        {"exampels": ()},
        {"examples": ({"question": "a", "answer": ""},)},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ArgumentError):
        Prompt(**wrong)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", REAL_TEXT)
def test_a_chat_is_what_transformers_makes_of_it_with_one_bos(name: str) -> None:
    host = chat_host(name, WITH_BOS if layout(name).bos_token else CHATML)
    prompt = Prompt(
        template="{question}", chat=True, system="Be brief.", examples=(SHOT,), prefix="<think>\nOkay"
    )
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Is it so?"},
        {"role": "assistant", "content": "yes"},
        {"role": "user", "content": "Is it {4}?"},
    ]
    text = host.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = host.with_prompt(prompt).prompt_ids([PROBLEM])[0]
    assert ids == host.tokenizer.encode(f"{text}<think>\nOkay", add_special_tokens=False)
    bos: Any = host.tokenizer.bos_token_id
    if bos is not None and name != "smollm2":  # whose BOS begins every turn
        assert ids[0] == bos and ids.count(bos) == 1
    assert prompt.show(host.tokenizer, PROBLEM).startswith(host.decode(ids))


@pytest.mark.parametrize("name", ["llama2", "gemma"])
def test_a_plain_text_has_one_bos(name: str) -> None:
    host = layout_host(name).with_prompt(Prompt(template="Q: {question}\nA:", examples=(SHOT,)))
    ids = host.prompt_ids([PROBLEM])[0]
    assert ids == host.encode("Q: Is it so?\nA: yes\n\nQ: Is it {4}?\nA:")
    bos: Any = host.tokenizer.bos_token_id
    assert ids.count(bos) == 1


def test_a_tag_that_is_no_token_is_said_with_its_tokens() -> None:
    shown = Prompt(prefix="<think>\n").show(layout("qwen2"))
    assert shown.endswith("')") and "(<think> is " in shown and "tokens here: '<think'" in shown


REFUSED = {
    "no template": ({}, "", "has no chat template"),
    "system is refused": (
        {"system": "Be brief."},
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}" + CHATML,
        "refuses system and user: no system",
    ),
    "system is dropped": (
        {"system": "Be brief."},
        "{% for m in messages if m['role'] != 'system' %}{{ m['content'] }}\n{% endfor %}",
        "leaves out the system message",
    ),
    "thoughts are dropped": (
        {"examples": (Shot(question="a?", answer="<think>long</think>b"),)},
        "{% for m in messages %}{{ m['content'].split('</think>')[-1] }}\n{% endfor %}",
        "leaves out an example's answer",
    ),
    "an argument is ignored": (
        {"enable_thinking": False},
        "{% for m in messages %}{{ m['content'] }}{% endfor %}",
        "does not read enable_thinking",
    ),
    "a prefix is there": (
        {"prefix": "<think>\n"},
        CHATML + "<think>\n",
        "ends with '<think>",
    ),
    "today": ({}, CHATML + "{{ strftime_now('%d %b %Y') }}", "writes today's date"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_chat_template_would_lose_in_silence_is_refused(case: str) -> None:
    settings, template, match = REFUSED[case]
    host = chat_host("qwen2", template)
    with pytest.raises((MismatchError, DataError), match=match) as caught:
        host.with_prompt(Prompt(chat=True, **settings))  # pyright: ignore[reportArgumentType]
    assert caught.value.do


def test_thinking_is_switched_by_the_template() -> None:
    host = chat_host("qwen2")
    on, off = (Prompt(chat=True, enable_thinking=on).text(PROBLEM, host.tokenizer) for on in (True, False))
    assert off == f"{on}<think>\n\n</think>\n\n"


PROMPTS = {
    "base": Prompt(template="Is it so? Answer: yes. {prompt}"),
    "thinking": Prompt(template="{prompt}", prefix=" Okay. Wait,"),
}


def pair_of(name: str) -> rm.hosts.ModelPair:
    words = name == "words"
    if words:
        prompts = {"base": Prompt(template="w1 w2 {prompt}"), "thinking": Prompt(prefix=" w5 w6 w7")}
    else:
        prompts = PROMPTS
    pair = rm.hosts.ModelPair("p", layout_host(name), layout_host(name, seed=1))
    return pair.with_prompts(**prompts)


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "smollm2"])
def test_each_model_reads_the_others_answer_behind_its_own_prompt(name: str) -> None:
    pair = pair_of(name)
    problems = [rm.Problem(f"p{i}", text, "") for i, text in enumerate(("w1 w2 w3", "w4 w5 w6"))]
    if name != "words":
        problems = [rm.Problem(p.id, f"Is it {i}?", "") for i, p in enumerate(problems)]
    decode = rm.Decode(max_new_tokens=9, temperature=1.0)
    rollouts = PairRollouts(
        base=rm.generate(pair.base, problems, decode=decode, progress=False),
        thinking=rm.generate(pair.thinking, problems, decode=decode, progress=False),
    )
    for host, written in ((pair.base, rollouts.thinking), (pair.thinking, rollouts.base)):
        for rollout, read in zip(written, as_read_by(host, written), strict=True):
            expected = host.encode(host.prompt.text(rollout.problem, host.tokenizer))
            assert list(read.prompt_ids) == expected != list(rollout.prompt_ids)
            assert read.ids == rollout.ids
    texts = rollouts.thinking
    for rollout, (base, thinking) in zip(texts, chosen_log_probs(pair, texts), strict=True):
        for host, ours in ((pair.base, base), (pair.thinking, thinking)):
            ids = torch.tensor([[*host.prompt_ids([rollout.problem])[0], *rollout.ids]])
            with torch.no_grad():
                logits = host.model(ids).logits[0, -len(rollout.ids) - 1 : -1]
            torch.testing.assert_close(ours, logits.log_softmax(-1), rtol=1e-4, atol=1e-4)
            assert len(ours) == len(rollout.ids)


def test_prompts_share_their_noise() -> None:
    """A prompt around the problem does not move the noise of the answer: same logits, same tokens."""
    host = layout_host("qwen2")
    other = host.with_prompt(Prompt(template="{prompt}"))
    longer = host.with_prompt(Prompt(template="Is it so? Answer: yes. {prompt}"))
    problems = as_problems("Is it 4?")
    decode = rm.Decode(max_new_tokens=4)
    starts = {}
    for one in (host, other, longer):
        prompts = encode_prompts(HostDecoder.of(one), problems, decode)
        starts[one.prompt.template] = draw_starts(one, problems, prompts)[problems[0].id]
    assert len(set(starts.values())) == 1


def test_a_plan_has_no_partner_in_its_own_model() -> None:
    host = layout_host("qwen2")
    gate = rm.above(direction(host), 0.0, role="thinking")
    plan = rm.steer(direction(host), 1.0, when=gate)
    with pytest.raises(BindError, match="are one model"):
        HostDecoder.of(host, plan, partner=host.with_prompt(Prompt(prefix=" so")))


def direction(host: Host) -> rm.Direction:
    return rm.Direction.along(torch.ones(host.d_model), "resid_post.0")


def test_the_same_prompt_gives_the_same_numbers() -> None:
    host = layout_host("gemma")
    texts = ["Is it 4?", "Is it so? Answer:"]
    decode = rm.Decode(max_new_tokens=12, temperature=1.0)
    plain = rm.generate(host, texts, decode=decode, progress=False)
    same = rm.generate(host.with_prompt(Prompt(template="{question}")), texts, decode=decode, progress=False)
    assert [r.ids for r in same] == [r.ids for r in plain]
    assert [r.prompt_ids for r in same] == [r.prompt_ids for r in plain]


def test_an_answer_that_has_begun_goes_on_behind_what_a_host_puts_around_it() -> None:
    host = layout_host("qwen2")
    begun = with_beginning(PROBLEM, "p#0", " Okay. Wait,", "yes")
    assert host.prompt.text(begun, host.tokenizer) == PROBLEM.prompt + " Okay. Wait,"
    around = Prompt(template="Q: {question}\nA:", prefix=" So")
    assert around.text(begun, host.tokenizer) == "Q: Is it {4}?\nA: So Okay. Wait,"
    careful = reworded(PROBLEM, "careful: <problem>", "<problem>")
    assert careful.prompt == f"careful: {PROBLEM.prompt}"
    assert Prompt(template="{question}!").text(careful, host.tokenizer) == "careful: Is it {4}?!"


def test_a_pair_file_names_a_prompt_for_each_role(tmp_path: Path) -> None:
    for role, seed in (("base", 0), ("thinking", 1)):
        layout_model("qwen2", seed=seed).save_pretrained(tmp_path / role)
        tokenizer = copy.deepcopy(layout("qwen2"))
        tokenizer.chat_template = CHATML
        tokenizer.save_pretrained(tmp_path / role)
    written = """name: mine
base: base
thinking: thinking
prompts:
  base: {template: "Q: {question}\\nA:", examples: [{question: "Is it so?", answer: "yes"}]}
  thinking: {chat: true, system: Be brief., enable_thinking: false}
"""
    (tmp_path / "pair.yaml").write_text(written)
    pair = load_pair(tmp_path / "pair.yaml")
    assert pair.base.prompt == Prompt(template="Q: {question}\nA:", examples=(SHOT,))
    assert pair.thinking.prompt.chat and pair.thinking.prompt.enable_thinking is False
    assert "behind Prompt(" in repr(pair.thinking)
    (tmp_path / "pair.yaml").write_text(written.replace("Be brief.", "Be brief., sytem: x"))
    with pytest.raises(ConfigError, match="sytem"):
        load_pair(tmp_path / "pair.yaml")


def test_a_field_that_is_called_prompt_is_not_the_prompt() -> None:
    problem = rm.Problem("p", "Question: so?\nAnswer:", "", {"question": "so?", "prompt": "x", "begun": "y"})
    assert Prompt(template="{prompt} {begun}").text(problem, layout("qwen2")) == "Question: so?\nAnswer: y"
