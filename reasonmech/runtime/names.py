"""Names of tokens: whether a model reads a sibling's text by the names under which it was written."""

from __future__ import annotations

from collections.abc import Iterable

from reasonmech.errors import MismatchError
from reasonmech.hosts.host import Host
from reasonmech.interventions.masks import Where
from reasonmech.rollout import Rollout


def check_words(where: Where, host: Host, texts: Iterable[object]) -> None:
    """Raise MismatchError where a rollout says a mask's word and this host calls that token otherwise.

    Siblings may give an id another name (R1-Distill calls `</think>` what Qwen2.5 calls `<|box_end|>`): a
    mask on the base would look for characters that none of these tokens has for it, without a word. Texts
    and token ids, which only this host reads, are passed over.
    """
    words = sorted(where.words())
    if words:
        for text in texts:
            if isinstance(text, Rollout):
                _check_answer(words, host, text)
                _check_prompt(words, host, text)


def _check_answer(words: list[str], host: Host, rollout: Rollout) -> None:
    read = host.decode(rollout.ids)
    if read == rollout.text:
        return
    for word in words:
        if rollout.text.count(word) > read.count(word):
            raise MismatchError(
                f"problem {rollout.problem.id!r}, sample {rollout.sample} holds the word {word!r} of a mask, "
                f"which {host.name!r} reads fewer times there{_renamed(host, rollout.ids, rollout.text)}",
                allowed="words by the names that this model's tokenizer gives tokens",
                do="name the token, too, as (word, id): of a pair inside(*pair.think_marks), of any word "
                "tokens((word, id))",
            )


def _check_prompt(words: list[str], host: Host, rollout: Rollout) -> None:
    prompt = host.prompt.text(rollout.problem, host.tokenizer)
    read = host.decode(rollout.prompt_ids)
    for word in words:
        # more words than the tokens say, and other tokens than this model's own encoding
        if (
            prompt.count(word) > read.count(word)
            and tuple(host.prompt_ids([rollout.problem])[0]) != rollout.prompt_ids
        ):
            raise MismatchError(
                f"the prompt of problem {rollout.problem.id!r} holds the word {word!r} of a mask, which "
                f"{host.name!r} reads fewer times in the tokens of the model that wrote the rollout"
                f"{_renamed(host, rollout.prompt_ids, prompt)}",
                allowed="prompts in the tokens of the model that reads them",
                do="read them as this model does: rm.runtime.as_read_by(host, rollouts)",
            )


def _renamed(host: Host, ids: tuple[int, ...], written: str) -> str:
    """A special token whose name the writer's text does not hold, in words; empty where there is none."""
    added = host.tokenizer.added_tokens_decoder
    for token in dict.fromkeys(ids):
        if token in added and host.token_text(token) not in written:
            return f": it has token {token}, which it calls {host.token_text(token)!r}"
    return ""
