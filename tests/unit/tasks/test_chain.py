"""The chain world: problems, environment, parser, grader."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reasonmech.errors import DataError, UnknownNameError
from reasonmech.organisms.training.corpus import Author, Modes
from reasonmech.rollout import Rollout
from reasonmech.tasks import load_task, tasks
from reasonmech.tasks.chain import VOCABULARY, ChainEnvironment, evaluate, make_problem, solution
from reasonmech.tasks.chain.parser import parse
from reasonmech.tasks.chain.sentence import standing_values
from tests.unit.tasks.chain_text import CAREFUL, CARELESS, GUESS, PROBLEM, TOKENIZER, rollout, trace

chain = tasks.get("chain")


def test_problems_are_a_function_of_the_seed_and_splits_are_disjoint() -> None:
    prompts = {}
    for split in ("train", "tuning", "test", "confirmation"):
        first = load_task("chain", n=200, seed=3, split=split)
        assert [p.prompt for p in first] == [p.prompt for p in load_task("chain", n=200, seed=3, split=split)]
        assert [p.prompt for p in first] != [p.prompt for p in load_task("chain", n=200, seed=4, split=split)]
        prompts[split] = {
            p.prompt for seed in range(5) for p in load_task("chain", n=200, seed=seed, split=split)
        }
    names = list(prompts)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            assert not prompts[a] & prompts[b]


def test_unknown_task_and_split_list_the_valid_ones() -> None:
    with pytest.raises(UnknownNameError, match="chain"):
        load_task("chian", n=1)
    with pytest.raises(UnknownNameError, match="tuning"):
        load_task("chain", n=1, split="dev")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="n >= 1"):
        load_task("chain", n=0)


def test_answer_is_the_last_value() -> None:
    assert solution(8, [("+", 4), ("*", 3), ("-", 1)]) == [2, 6, 5]
    assert PROBLEM.answer == "5"
    assert evaluate(0, "-", 3) == 7


def play(text: str, *, world: ChainEnvironment, sample: int = 0, problem: object = PROBLEM) -> Rollout:
    """Let a model that always wants to write `text` write under an environment."""
    scribe = world.scribe(problem, sample, TOKENIZER)  # type: ignore[arg-type]
    words = iter(text.split())
    text_words, by = [], []
    while True:
        proposal = next(words, None)
        if proposal is None:
            break
        written = scribe.write(TOKENIZER.convert_tokens_to_ids(proposal))
        text_words.append(TOKENIZER.convert_ids_to_tokens(written.token))
        by.append(written.by_environment)
    text = " ".join(f"[{word}]" if e else word for word, e in zip(text_words, by, strict=True))
    return rollout(text)


PLAIN = (
    "next one + 4 : 8 + 4 = 2 . check : 8 + 4 = 2 so so so so next two * 3 : 2 * 3 = 6 . so it is 6 . <eos>"
)


def test_slip_hits_only_the_step_and_the_read_back_tells() -> None:
    always = play(PLAIN, world=ChainEnvironment(slip=1.0))
    text_words, by = always.text.split(), always.by_environment
    assert text_words[9] != "2" and by[9]
    assert text_words[18:22] == [",", "had", text_words[9], "."] and all(by[18:22])
    assert text_words[17] == "2" and not by[17], "a check never slips"
    never = play(PLAIN, world=ChainEnvironment(slip=0.0))
    assert never.text.split()[9] == "2" and not never.by_environment[9]
    assert never.text.split()[18:22] == [",", "had", "2", "."]


def test_slips_are_keyed_by_problem_sample_operation_and_attempt_alone() -> None:
    world = ChainEnvironment(seed=7, slip=0.5)
    twice = "next one + 4 : 8 + 4 = 2 . " * 8
    first = play(twice, world=world)
    assert first.ids == play(twice, world=world).ids
    long_way = play("hmm , maybe . plan : 3 steps . " + twice, world=world)
    assert first.text.split() == long_way.text.split()[9:], "other sentences must not move the stream"
    idle = play("hmm : 8 + 4 = 2 . hmm : 1 + 1 = 2 . " + twice, world=world)
    assert first.text.split() == idle.text.split()[16:], "a hedge with an equation is no attempt at a step"
    others = [play(twice, world=world, sample=s).ids for s in range(1, 6)]
    assert any(ids != first.ids for ids in others)
    slipped = [first.by_environment[9 + 11 * i] for i in range(8)]
    assert any(slipped) and not all(slipped), "attempts have streams of their own"


def test_no_wording_evades_a_slip() -> None:
    """Whatever word begins the sentence that establishes a value, the environment may slip there."""
    sneaky = play("plan one + 4 : 8 + 4 = 2 . so it is 6 . <eos>", world=ChainEnvironment(slip=1.0))
    assert sneaky.by_environment[9] and sneaky.text.split()[9] != "2"


def test_slip_rate_and_uniform_wrong_digits() -> None:
    world = ChainEnvironment(seed=1)
    drawn = [world.slipped(f"1|p{i}|0", 0, 0, 4) for i in range(20_000)]
    slips = [d for d in drawn if d is not None]
    assert abs(len(slips) / len(drawn) - 0.15) < 4 * (0.15 * 0.85 / 20_000) ** 0.5
    assert 4 not in slips and set(slips) == set(range(10)) - {4}


def test_parser_reads_what_each_sentence_does() -> None:
    parsed = trace(CAREFUL).sentences
    assert [s.kind for s in parsed] == [
        "step",
        "check",
        "backtrack",
        "step",
        "check",
        "step",
        "conclude",
        "stop",
    ]
    assert [s.relation for s in parsed] == [
        "establishes", "verifies", "revises", "establishes", "verifies", "establishes", "concludes", None,
    ]  # fmt: skip
    assert [s.item for s in parsed[:6]] == [0, 0, 0, 1, 1, 2]
    assert [s.value for s in parsed] == [5, 2, 2, 6, 6, 5, 5, None]
    assert [s.correct for s in parsed[:6]] == [False, True, True, True, True, True]
    assert standing_values(trace(CAREFUL).sentences) == {0: 2, 1: 6, 2: 5}
    text = CAREFUL.replace("[", "").replace("]", "").split()
    assert [w for s in parsed for w in text[s.start : s.stop]] == text, "sentences cover the text, in order"


def test_grader_wants_the_right_answer_and_an_end() -> None:
    assert chain.grade(rollout(CAREFUL)) and chain.grade(rollout(GUESS))
    assert not chain.grade(rollout(CARELESS))
    assert not chain.grade(rollout("so the answer is 5 ."))
    assert not chain.grade(rollout("next one + 4 : 8 + 4 = 2 . <eos>"))


def test_verified_refuses_a_lucky_guess_and_a_wrong_step() -> None:
    assert chain.verified(trace(CAREFUL))
    assert not chain.verified(trace(GUESS))
    lucky = (
        CARELESS.replace("5 * 3 = 5", "5 * 3 = 6")
        .replace("5 - 1 = 4", "6 - 1 = 5")
        .replace("so it is 4", "so it is 5")
    )
    assert chain.grade(rollout(lucky)) and not chain.verified(trace(lucky))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("6 - 1 = 5", "7 - 2 = 5"),  # right value, another equation
        ("next two * 3 , we get 2 * 3 = 6 .", "next two * 3 , we get 1 + 5 = 6 ."),
        ("next one", "next two"),  # another order
        (
            "next three - 1 : 6 - 1 = 5 . so the answer is 5 .",
            "so the answer is 5 . next three - 1 : 6 - 1 = 5 .",
        ),
    ],
)
def test_verified_looks_at_the_process(old: str, new: str) -> None:
    assert old in CAREFUL
    cheated = CAREFUL.replace(old, new)
    assert chain.grade(rollout(cheated)) and not chain.verified(trace(cheated))


def test_words_that_a_tokenizer_wrote_without_a_blank_are_still_one_a_token() -> None:
    whole = rollout(CAREFUL)
    for glued, parted in (("= 5", "=5"), (". wait", ".wait"), ("5 . <eos>", "5.<eos>"), ("8 + 4", "8+4")):
        text = whole.text.replace(glued, parted)
        assert text != whole.text
        assert parse(replace(whole, text=text)).words == parse(whole).words
    other_end = whole.text.replace("5 . <eos>", "5.<|im_end|>")
    assert parse(replace(whole, text=other_end)).words == parse(whole).words


def test_text_that_does_not_line_up_with_tokens_is_refused() -> None:
    good = rollout(GUESS)
    bad = Rollout(**{**vars(good), "text": "so the answer"})
    with pytest.raises(DataError, match="one word of the chain world per token"):
        parse(bad)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 10**9))
def test_corpus_documents_parse_to_what_their_author_wrote(seed: int) -> None:
    """Round trip: careful documents always verify, whatever slips; every word is in the vocabulary."""
    careful = Modes(thorough=1, check_step=(1, 1), backtrack=(1, 1), persona=0, slip=0.3)
    words = Author(random.Random(seed), careful).write_solution()
    text_words = [w.text for w in words]
    assert set(text_words) <= set(VOCABULARY)
    begin = text_words.index("A") + 2
    numbers = text_words[3 : begin - 2]
    operations = [(numbers[i + 1], int(numbers[i + 2])) for i in range(0, len(numbers), 3)]
    problem = make_problem(int(text_words[2]), operations, id="doc")
    parsed = parse(rollout(" ".join(text_words[begin:]), problem=problem))
    assert chain.verified(parsed)
    assert sum(s.relation == "establishes" for s in parsed.sentences) == len(operations)
    wrong = sum(s.relation == "establishes" and not s.correct for s in parsed.sentences)
    assert sum(s.relation == "revises" for s in parsed.sentences) == wrong
    assert sum(not w.learnt for w in words) == wrong, "exactly the slipped digits stay out of the loss"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(VOCABULARY[1:]), min_size=1, max_size=60))
def test_parser_never_fails_and_covers_any_babble(words: list[str]) -> None:
    text = [w for w in words if w != "<eos>"] or ["."]
    parsed = parse(rollout(" ".join(text)))
    assert parsed.sentences[0].start == 0 and parsed.sentences[-1].stop == len(text)
    assert all(a.stop == b.start for a, b in zip(parsed.sentences, parsed.sentences[1:], strict=False))


def test_environment_survives_any_babble() -> None:
    rng = random.Random(0)
    for _ in range(50):
        world = ChainEnvironment(slip=0.5)
        play(" ".join(rng.choice(VOCABULARY[3:60]) for _ in range(80)), world=world)
