"""What differs between two hosts that should be siblings."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from reasonmech.hosts.host import Host

ACCEPTABLE: Final = ("padding", "special_tokens", "added_tokens", "encoding")
PROBE: Final = "So 12 + 34 = 46.\n\nWait, let me check: 3.14 > 2, isn't it? </think> Yes."


class Difference(NamedTuple):
    """One way in which two hosts differ.

    Attributes:
        kind: "layers", "width", "logits", "vocabulary" (never accepted); "padding" (rows of the unembedding
            that no token has), "special_tokens", "added_tokens", "encoding" (accepted on request);
            "chat_template" (only reported).
        what: the two values, base first.
    """

    kind: str
    what: str


def differences_of(base: Host, thinking: Host) -> list[Difference]:
    """Every difference that decides whether one host can read what the other wrote."""
    sizes = (
        ("layers", base.n_layers, thinking.n_layers),
        ("width", base.d_model, thinking.d_model),
        (_kind_of_rows(base, thinking), base.vocab_size, thinking.vocab_size),
    )
    in_size = [Difference(kind, f"{a} in base, {b} in thinking") for kind, a, b in sizes if a != b]
    return [*in_size, *_vocabulary(base.tokenizer, thinking.tokenizer), *_habits(base, thinking)]


def _vocabulary(base: Any, thinking: Any) -> list[Difference]:
    base_ids, thinking_ids = base.get_vocab(), thinking.get_vocab()
    added = base.get_added_vocab().keys() | thinking.get_added_vocab().keys()
    differing = sorted(
        token
        for token in base_ids.keys() | thinking_ids.keys()
        if base_ids.get(token) != thinking_ids.get(token)
    )
    differences = []
    for kind, tokens in (
        ("vocabulary", [t for t in differing if t not in added]),
        ("added_tokens", [t for t in differing if t in added]),
    ):
        if tokens:
            shown = ", ".join(
                f"{t!r} is {base_ids.get(t)} in base, {thinking_ids.get(t)} in thinking" for t in tokens[:4]
            )
            differences.append(Difference(kind, f"{len(tokens)} tokens have other ids ({shown})"))
    return differences


def _kind_of_rows(base: Host, thinking: Host) -> str:
    """Whether rows that only one model has belong to tokens, or to none: they fill up its matrices."""
    rows = min(base.vocab_size, thinking.vocab_size)
    in_use = [i for host in (base, thinking) for i in host.tokenizer.get_vocab().values()]
    return "padding" if max(in_use) < rows else "logits"


def _ends(host: Host) -> list[str]:
    return sorted(str(host.tokenizer.convert_ids_to_tokens(i)) for i in host.eos_ids)


def _habits(base: Host, thinking: Host) -> list[Difference]:
    """Special tokens, what is put in front of a text, how a text is cut, and the chat template."""
    ours: Any = base.tokenizer  # transformers types a special token as anything a config may hold
    theirs: Any = thinking.tokenizer
    special = (
        ("bos", ours.bos_token, theirs.bos_token),
        ("eos", ours.eos_token, theirs.eos_token),
        ("pad", ours.pad_token, theirs.pad_token),
        ("prefix", base.encode(""), thinking.encode("")),
        ("ends of text", _ends(base), _ends(thinking)),
    )
    differences = [
        Difference("special_tokens", f"{n} {a!r} in base, {b!r} in thinking") for n, a, b in special if a != b
    ]
    cuts = [tokenizer.encode(PROBE, add_special_tokens=False) for tokenizer in (ours, theirs)]
    if cuts[0] != cuts[1]:
        differences.append(
            Difference("encoding", f"{PROBE!r} is {cuts[0][:12]}... in base, {cuts[1][:12]}... in thinking")
        )
    if ours.chat_template != theirs.chat_template:
        differences.append(Difference("chat_template", "the chat templates are not the same text"))
    return differences
