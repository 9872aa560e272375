"""Ends of text: all that a model's folder names, and each model of a pair its own."""

from __future__ import annotations

import copy
import json
from functools import cache
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel

import reasonmech as rm
from reasonmech.hosts import Host, ModelPair, load_host
from reasonmech.hybrid import AtRandom, DisagreementGate, Hybrid, OfThinking, Takeover
from reasonmech.kinds import with_ends
from reasonmech.organisms.ground_truth.splice import SplicedDecoder
from reasonmech.problem import Problem
from reasonmech.rollout import STOP, Rollout, Stop
from reasonmech.runtime import Decode, generate
from reasonmech.tasks.chain import Chain, OneWordKinds
from reasonmech.tasks.chain.grammar import word_tokenizer
from reasonmech.taxonomies.text.cut import cut
from reasonmech.testing import move_matrices, tiny_host, tiny_tokenizer
from tests.layouts import LAYOUTS, layout, layout_model, smollm2_directory

N = 24


def saved(path: Path, *, generation: object, config: object = 1, tokenizer: str = "<eos>") -> Path:
    """A directory whose three places name these ends of text; "absent": no generation_config.json."""
    model, words = tiny_host().model, tiny_tokenizer()
    words.eos_token = tokenizer
    model.config.eos_token_id = config
    model.save_pretrained(path)
    words.save_pretrained(path)
    file = path / "generation_config.json"
    if generation == "absent":
        file.unlink()
    else:
        file.write_text(json.dumps({"eos_token_id": generation}))
    return path


@pytest.mark.parametrize(
    ("generation", "config", "ends"),
    [
        ([1, 40], 1, (1, 40)),
        ([40, 1], 1, (1, 40)),
        (40, 1, (1, 40)),
        (1, 1, (1,)),
        (None, 7, (1, 7)),  # a generation config that names none
        ("absent", [1, 9], (1, 9)),
        ([1, 64, -1], 1, (1,)),  # ids without a row
        ([], [1, 3], (1, 3)),
    ],
)
def test_a_host_ends_where_its_folder_says(
    tmp_path: Path, generation: object, config: object, ends: tuple[int, ...]
) -> None:
    host = load_host(saved(tmp_path / "m", generation=generation, config=config))
    assert host.eos_ids == ends and host.pad_id == 0


def test_the_tokenizers_end_is_first_and_no_end_is_none(tmp_path: Path) -> None:
    assert load_host(saved(tmp_path / "a", generation=[1, 40], tokenizer="w9")).eos_ids == (15, 1, 40)
    model, words = tiny_host().model, tiny_tokenizer()
    words.eos_token = None
    model.generation_config = GenerationConfig()
    model.config.eos_token_id = None
    bare = load_host(model, tokenizer=words, name="bare")
    assert (bare.eos_ids, bare.pad_id) == ((), 0)
    assert generate(bare, ["w1 w2"], decode=Decode(max_new_tokens=30), progress=False)[0].stop == "length"


def free_text(model: PreTrainedModel, ids: list[int], n: int = N) -> list[int]:
    prompt = torch.tensor([ids])
    settings = {"do_sample": False, "pad_token_id": 0, "eos_token_id": None, "max_new_tokens": n}
    with torch.no_grad():
        out = model.generate(prompt, attention_mask=torch.ones_like(prompt), **settings)  # pyright: ignore
    return out[0, len(ids) :].tolist()


def hugging_face(model: PreTrainedModel, ids: list[int], n: int = N) -> list[int]:
    prompt = torch.tensor([ids])
    with torch.no_grad():
        out = model.generate(  # pyright: ignore
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, pad_token_id=0, max_new_tokens=n
        )
    return out[0, len(ids) :].tolist()


@pytest.mark.parametrize("name", LAYOUTS)
def test_generate_stops_at_each_end_as_hugging_face_does(name: str) -> None:
    model, words = layout_model(name), layout(name)
    plain = Host(model, words, name="plain")
    prompts = ["w1 w2 w3", "w9 w4"] if name == "words" else ["Wait, let me check.", "The answer is 7"]
    written = [free_text(model, plain.encode(prompt)) for prompt in prompts]
    second = next(token for token in written[0][3:] if token not in written[0][:3])
    assert words.eos_token_id is not None
    model.generation_config.eos_token_id = [words.eos_token_id, second]  # pyright: ignore
    host = Host(model, words, name=name)  # a model in hand: its generation config is read too
    assert second in host.eos_ids
    rollouts = generate(host, prompts, decode=Decode(max_new_tokens=N), progress=False)
    for rollout, prompt in zip(rollouts, prompts, strict=True):
        assert list(rollout.ids) == hugging_face(model, host.encode(prompt))
    assert rollouts[0].ids[-1] == second and rollouts[0].stop == "eos" and len(rollouts[0].ids) < N
    [cut_off] = generate(host, prompts[:1], decode=Decode(max_new_tokens=2), progress=False)
    assert cut_off.stop == "length"


@pytest.mark.real_model
def test_the_real_model_stops_at_a_second_end(tmp_path: Path) -> None:
    source, target = smollm2_directory(), tmp_path / "m"
    target.mkdir()
    for file in source.iterdir():
        (target / file.name).symlink_to(file)
    (target / "generation_config.json").unlink()
    words = AutoTokenizer.from_pretrained(target)
    dot = words.encode(".", add_special_tokens=False)[0]
    (target / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, dot]}))
    prompt = words.apply_chat_template(
        [{"role": "user", "content": "Name two colours, in one sentence."}],
        tokenize=False,
        add_generation_prompt=True,
    )
    host = load_host(target, dtype=torch.float32)
    model = AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)
    [rollout] = generate(host, [prompt], decode=Decode(max_new_tokens=40), progress=False)
    assert list(rollout.ids) == hugging_face(model, host.encode(prompt), 40)
    assert rollout.ids[-1] == dot and rollout.stop == "eos"


def pair_of(base_end: int, thinking_end: int, *, seed: int = 0, change: float = 0.4) -> ModelPair:
    """Random siblings that end their texts with these tokens and no other."""
    hosts = []
    for side, end in enumerate((base_end, thinking_end)):
        model, words = tiny_host(seed=seed).model, tiny_tokenizer()
        if side:
            move_matrices(model, change, torch.Generator().manual_seed(seed + 1))
        words.eos_token = words.convert_ids_to_tokens(end)
        model.generation_config.eos_token_id = end  # pyright: ignore
        hosts.append(load_host(model, tokenizer=words, name=("base", "thinking")[side]))
    return ModelPair("p", *hosts, accept=("special_tokens", "added_tokens"))


PROMPTS = [f"w{i} w{i + 7} w{3 * i}" for i in range(12)]


def test_a_pair_says_that_its_models_end_differently() -> None:
    with pytest.raises(rm.errors.MismatchError, match=r"(?s)special_tokens.*accept=\['special_tokens'\]"):
        model = tiny_host(seed=1).model
        model.generation_config.eos_token_id = [1, 40]  # pyright: ignore
        ModelPair("p", tiny_host(), load_host(model, tokenizer=tiny_tokenizer(), name="t"))
    [ends] = [d for d in pair_of(1, 40).differences if "ends of text" in d.what]
    assert ends.kind == "special_tokens" and "'<eos>'" in ends.what and "'w34'" in ends.what


@cache
def ends_that_are_written(seed: int) -> tuple[int, int]:
    """Two tokens that the thinking model of `pair_of` writes early on in several of the texts."""
    rollouts = generate(
        pair_of(1, 1, seed=seed).thinking, PROMPTS, decode=Decode(max_new_tokens=N), progress=False
    )
    texts = [rollout.ids for rollout in rollouts]
    counts = {t: sum(t in text[1:] for text in texts) for text in texts for t in text if t != 1}
    most = sorted(counts, key=lambda t: (-counts[t], t))
    return most[0], most[1]


@pytest.mark.parametrize("seed", range(2))
def test_takeover_is_the_thinking_model_whatever_the_ends(seed: int) -> None:
    kinds = OneWordKinds({"one": "w1"}, tiny_tokenizer())
    a, b = ends_that_are_written(seed)
    decode = Decode(max_new_tokens=N)
    for base_end, thinking_end in ((a, b), (b, a), (1, a), (a, 1), (b, 1)):
        pair = pair_of(base_end, thinking_end, seed=seed)
        hybrid = Hybrid(
            pair, gate=DisagreementGate(), selector=OfThinking(), executor=Takeover(), kinds=kinds
        )
        assert hybrid.eos_ids == (base_end, thinking_end)
        alone = generate(pair.thinking, PROMPTS, decode=decode, progress=False)
        taken = generate(hybrid, PROMPTS, decode=decode, progress=False)
        assert [(r.ids, r.stop) for r in taken] == [(r.ids, r.stop) for r in alone]
        if base_end in (a, b) and thinking_end == 1:  # the base's end stood in the middle of these texts
            assert any(base_end in r.ids[:-1] for r in alone)


def test_a_hybrid_ends_at_an_end_of_either_model() -> None:
    a, b = ends_that_are_written(0)
    kinds = OneWordKinds({"one": "w1"}, tiny_tokenizer())
    pair = pair_of(a, b)
    hybrid = Hybrid(pair, gate=AtRandom(0.0), selector=OfThinking(), executor=Takeover(), kinds=kinds)
    rollouts = generate(hybrid, PROMPTS, decode=Decode(max_new_tokens=N), progress=False)
    free = generate(pair_of(1, 1).base, PROMPTS, decode=Decode(max_new_tokens=N), progress=False)
    for rollout, whole in zip(rollouts, free, strict=True):
        at = next((i for i, t in enumerate(whole.ids) if t in (a, b)), None)
        assert rollout.ids == (whole.ids if at is None else whole.ids[: at + 1])
        assert (rollout.stop == "eos") == (rollout.ids[-1] in (a, b, 1))


def test_every_end_is_of_kind_stop_where_a_sentence_may_begin() -> None:
    words = word_tokenizer()
    kinds = with_ends(OneWordKinds(Chain().world.onset_words, words), (1, 30))
    tracker, stop = kinds.track(1), kinds.names.index(STOP)
    assert tracker.category(torch.tensor([30])).tolist() == [stop]
    tracker.advance(torch.tensor([words.convert_tokens_to_ids("check")]))
    assert tracker.category(torch.tensor([30])).tolist() == [kinds.names.index("check")]


def test_a_splice_knows_the_ends_of_both_models() -> None:
    base, thinking = (rm.load_host(f"organism:tiny-when/{side}") for side in ("base", "thinking"))
    thinking.model.generation_config.eos_token_id = [1, 50]  # pyright: ignore
    other = Host(thinking.model, thinking.tokenizer, name="other")
    kinds = Chain().kinds(base.tokenizer)
    spliced = SplicedDecoder(other, base, kinds=kinds)
    assert spliced.eos_ids == (1, 50) and {1, 50} <= set(torch.cat(spliced.openings.tokens).tolist())


def rollout_of(ids: list[int], text: str, stop: Stop) -> Rollout:
    marks = (False,) * len(ids)
    return Rollout(Problem("p", "", "7"), 0, (), tuple(ids), marks, marks, stop, text)


def test_a_chain_answer_with_another_end_token_is_graded_and_parsed() -> None:
    words = word_tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    text = "next one + 4 : 3 + 4 = 7 . so the answer is 7 . <|im_end|>"
    ids = words.encode(text)
    ended = rollout_of(ids, text, "eos")
    assert Chain().grade(ended)
    assert Chain().parse(ended).sentences[-1].kind == STOP
    assert not Chain().grade(rollout_of(ids, text, "token"))


@pytest.mark.parametrize("mark", ["<end_of_turn>", "<|eot_id|>", "</s>"])
def test_real_text_that_ends_with_any_end_token_has_a_stop(mark: str) -> None:
    words = copy.deepcopy(layout("qwen2"))
    words.add_special_tokens({"additional_special_tokens": [mark]})
    text = f"So it is 4. But wait, it is 5{mark}"
    ids = words.encode(text, add_special_tokens=False)
    [trace] = cut([rollout_of(ids, text, "eos")], words)
    assert [s.text for s in trace.sentences] == ["So it is 4.", "But wait, it is 5", mark]
    assert trace.sentences[-1].kind == STOP
    [running] = cut([rollout_of(ids[:-1], text[: -len(mark)], "length")], words)
    assert running.sentences[-1].kind != STOP
