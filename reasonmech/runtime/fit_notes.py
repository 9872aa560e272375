"""Notes beside a fit: where the texts at hand are not of the kind that a coder was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from reasonmech.coders import StreamRecord
from reasonmech.hosts.host import Host


def notes_on_texts(record: StreamRecord, host: Host, texts: Sequence[Sequence[int]]) -> tuple[str, ...]:
    """One sentence for each thing in which the texts differ from what the coder's record says of its own."""
    return tuple(
        note
        for notes in (_on_bos, _on_length, _on_positions, _on_left_out)
        for note in notes(record, host, texts)
    )


def _on_bos(record: StreamRecord, host: Host, texts: Sequence[Sequence[int]]) -> Iterator[str]:
    special: Any = host.tokenizer
    bos = special.bos_token_id
    if record.prepend_bos and bos is None:
        yield "the coder's texts began with a BOS (prepend_bos), and this tokenizer has none"
    elif record.prepend_bos is not None and bos is not None:
        n = sum((text[0] == bos) != record.prepend_bos for text in texts)
        token = repr(special.bos_token)
        theirs = f"began with {token}" if record.prepend_bos else f"did not begin with {token}"
        ours = "do not" if record.prepend_bos else "do"
        if n:
            yield f"the coder's texts {theirs} (prepend_bos), {n} of {len(texts)} texts here {ours}"


def _on_length(record: StreamRecord, host: Host, texts: Sequence[Sequence[int]]) -> Iterator[str]:
    size = record.context_size
    if size is not None and (n := sum(len(text) > size for text in texts)):
        beyond = sum(max(0, len(text) - size) for text in texts)
        yield (
            f"the coder's texts had at most {size} tokens (context_size), {n} of {len(texts)} texts here "
            f"have more: {beyond} tokens stand where it saw none"
        )


def _on_positions(record: StreamRecord, host: Host, texts: Sequence[Sequence[int]]) -> Iterator[str]:
    if record.positions is not None:
        start, stop = record.positions
        read = [range(record.context_size or len(text))[start:stop] for text in texts]
        inside = sum(
            len(range(one.start, min(one.stop, len(text)))) for one, text in zip(read, texts, strict=True)
        )
        if n := sum(map(len, texts)) - inside:
            ends = f"{'' if start is None else start}:{'' if stop is None else stop}"
            yield (
                f"the coder read positions {ends} of its texts (seqpos_slice), {n} tokens here stand "
                "elsewhere"
            )


def _on_left_out(record: StreamRecord, host: Host, texts: Sequence[Sequence[int]]) -> Iterator[str]:
    if record.left_out is not False:
        ids = set(host.tokenizer.all_special_ids) if record.left_out is True else record.left_out
        if n := sum(token in ids for text in texts for token in text):
            yield (
                f"the coder was trained without special tokens (exclude_special_tokens), {n} tokens here are "
                "such"
            )
