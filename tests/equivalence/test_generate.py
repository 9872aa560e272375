"""generate against plain Hugging Face, against itself in other batches, and with an environment."""

import pytest
import torch

from reasonmech.errors import DataError, NonFiniteError
from reasonmech.hosts.host import Host
from reasonmech.problem import Problem, ProblemSet, Written
from reasonmech.rollout import Rollouts
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.generate import generate
from reasonmech.testing import ARCHITECTURES, tiny_host

PROMPTS = ["w1 w2 w3", "w5", "w9 w1 w22 w4 w2 w40 w3", "w7 w7", "w1 . w2 w3"]


def ids_of(rollouts: Rollouts) -> list[tuple[int, ...]]:
    return [rollout.ids for rollout in rollouts]


def hugging_face(host: Host, prompt: str, new: int) -> tuple[int, ...]:
    ids = torch.tensor([host.encode(prompt)])
    out = host.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=new,
        do_sample=False,
        pad_token_id=0,
        eos_token_id=1,
    )
    return tuple(out[0, ids.shape[1] :].tolist())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_greedy_batch_equals_hugging_face_row_by_row(arch: str) -> None:
    host = tiny_host(arch)
    batch = generate(host, PROMPTS, decode=Decode(max_new_tokens=12))
    assert len({rollout.ids for rollout in batch}) > 1
    assert ids_of(batch) == [hugging_face(host, prompt, 12) for prompt in PROMPTS]


def test_samples_do_not_depend_on_the_batch() -> None:
    host = tiny_host("qwen3")
    decode = Decode(max_new_tokens=12, temperature=1.0, samples=3, seed=4)
    whole = generate(host, PROMPTS, decode=decode)
    alone = [rollout for prompt in PROMPTS for rollout in generate(host, [prompt], decode=decode)]
    assert ids_of(whole) == [rollout.ids for rollout in alone]
    for batch_size in (1, 2, 3, 128):
        parts = generate(host, PROMPTS, decode=decode.model_copy(update={"batch_size": batch_size}))
        assert ids_of(parts) == ids_of(whole), batch_size
    assert len({rollout.ids for rollout in whole[:3]}) == 3
    assert [(r.problem.prompt, r.sample) for r in whole] == [(p, s) for p in PROMPTS for s in range(3)]


def rows_read(host: Host, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of every pass of a host from now on, as they come."""
    rows, forward = [], host.model.forward

    def spy(*args: object, **kwargs: torch.Tensor) -> object:
        rows.append(len(kwargs["input_ids"]))
        return forward(*args, **kwargs)

    monkeypatch.setattr(host.model, "forward", spy)
    return rows


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_samples_of_a_prompt_read_it_once_and_are_those_of_rows_that_read_it_alone(
    arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = tiny_host(arch)
    decode = Decode(max_new_tokens=6, temperature=1.0, samples=4, seed=1, batch_size=20)
    alone = generate(host, PROMPTS, decode=decode.model_copy(update={"batch_size": 1}), receipt="none")
    rows = rows_read(host, monkeypatch)
    together = generate(host, PROMPTS, decode=decode, receipt="none")
    assert ids_of(together) == ids_of(alone)
    assert rows[0] == len(PROMPTS) < rows[1]


def test_a_hook_of_the_user_is_told_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    host = tiny_host()
    rows, seen = rows_read(host, monkeypatch), []
    handle = host.model.get_input_embeddings().register_forward_hook(
        lambda _module, _args, out: seen.append(len(out))
    )
    generate(host, PROMPTS[:1], decode=Decode(max_new_tokens=1, temperature=1.0, samples=3), receipt="none")
    handle.remove()
    assert rows == seen == [3]


def test_another_seed_gives_other_samples_and_the_same_seed_the_same() -> None:
    host = tiny_host()
    first, again, other = (
        generate(host, PROMPTS, decode=Decode(max_new_tokens=8, temperature=1.0, seed=s)) for s in (0, 0, 1)
    )
    assert ids_of(first) == ids_of(again) != ids_of(other)


class EndsAt:
    """An environment that writes <eos> at each row's own offset, and `w3` at offset 1."""

    class Row:
        def __init__(self, end: int) -> None:
            self.end, self.offset, self.seen = end, -1, []

        def write(self, proposed: int) -> Written:
            self.offset += 1
            self.seen.append(proposed)
            if self.offset == self.end:
                return Written(1, True)
            return Written(9, True) if self.offset == 1 else Written(max(proposed, 2), False)

    def scribe(self, problem: Problem, sample: int, tokenizer: object) -> "EndsAt.Row":
        return self.Row(int(problem.answer))


def test_the_environment_writes_and_ended_rows_leave_without_disturbing_the_others() -> None:
    host, ends = tiny_host(), [3, 7, 99, 0, 5]
    problems = [
        Problem(f"p/{i}", p, answer=str(e)) for i, (p, e) in enumerate(zip(PROMPTS, ends, strict=True))
    ]
    decode = Decode(max_new_tokens=10)
    whole = generate(host, ProblemSet(problems, task="toy", environment=EndsAt()), decode=decode)
    alone = [
        generate(host, ProblemSet([p], task="toy", environment=EndsAt()), decode=decode)[0] for p in problems
    ]
    assert whole.task == "toy" and list(whole) == alone
    assert [len(r.ids) for r in whole] == [4, 8, 10, 1, 6]
    assert [r.stop for r in whole] == ["eos", "eos", "length", "eos", "eos"]
    assert whole[0].ids[1] == 9 and whole[0].by_environment == (False, True, False, True)
    assert whole[0].n_chosen == 2 and not any(whole[0].steered)


def test_a_proposed_end_that_the_environment_overrules_ends_nothing() -> None:
    class Never:
        class Row:
            def write(self, proposed: int) -> Written:
                return Written(7, True)

        def scribe(self, problem: Problem, sample: int, tokenizer: object) -> "Never.Row":
            return self.Row()

    problems = ProblemSet([Problem("p/0", "w1", "")], task="toy", environment=Never())
    [row] = generate(tiny_host(), problems, decode=Decode(max_new_tokens=6))
    assert row.ids == (7,) * 6 and row.stop == "length"


def test_stop_tokens_end_a_row() -> None:
    host = tiny_host()
    [free] = generate(host, ["w1 w2 w3"], decode=Decode(max_new_tokens=12))
    [cut] = generate(host, ["w1 w2 w3"], decode=Decode(max_new_tokens=12, stop_tokens=(free.ids[4],)))
    assert cut.ids == free.ids[: free.ids.index(free.ids[4]) + 1] and cut.stop == "token"


def test_nan_logits_name_the_problem_and_an_empty_prompt_is_refused() -> None:
    host = tiny_host()
    host.layers[1].register_forward_hook(lambda module, args, out: out * float("nan"))
    with pytest.raises(NonFiniteError, match=r"problem 'prompt/.*position 2"):
        generate(host, ["w1 w2"])
    with pytest.raises(DataError, match="encodes to no token"):
        generate(tiny_host(), ["w1", ""])
    with pytest.raises(DataError, match="no problem"):
        generate(tiny_host(), [])


def test_generate_leaves_no_hook_and_no_changed_weight() -> None:
    host = tiny_host()
    before = {name: value.clone() for name, value in host.model.state_dict().items()}
    generate(host, PROMPTS, decode=Decode(max_new_tokens=4))
    assert all(torch.equal(before[name], value) for name, value in host.model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in host.model.modules())


def test_a_text_that_could_outgrow_the_positions_is_refused_before_it_is_written() -> None:
    host = tiny_host("gpt2")
    (written,) = generate(host, ["w1 w2 w3"], decode=Decode(max_new_tokens=host.n_positions - 3))
    assert len(written.ids) <= 253
    with pytest.raises(DataError, match=r"prompt of 3 tokens .* max_new_tokens=254"):
        generate(host, ["w1", "w1 w2 w3"], decode=Decode(max_new_tokens=254))
