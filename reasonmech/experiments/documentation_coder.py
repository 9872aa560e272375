"""A coder of one model, from nothing: it reads documentation, and its own continuations of some."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from reasonmech.coders import CoderConfig, SparseCoder
from reasonmech.door import checked
from reasonmech.experiments.coder_job import CoderJob, TrainingTexts
from reasonmech.experiments.documentation import Passages, documentation
from reasonmech.files import check_new
from reasonmech.hosts import Host, Prompt
from reasonmech.ranges import Positive
from reasonmech.rollout import Rollout, Rollouts
from reasonmech.runtime import Decode, Keep, generate
from reasonmech.site import Site

OPENING: Final = 300  # characters of a passage that is to be continued
CONTINUED: Final = Decode(temperature=1.0, max_new_tokens=192, batch_size=32)
CHAT: Final = Prompt(chat=True, template="Explain this:\n\n{prompt}")
KEEP: Final = Keep(batch_size=8, shard_tokens=2**16)  # texts are long, and a kill costs at most a shard


@checked
def train_documentation_coder(
    host: Host,
    config: CoderConfig,
    *,
    site: Site | str,
    out: str | Path,
    passages: Positive,
    progress: bool = True,
) -> SparseCoder:
    """Train a coder of a model on passages of the documentation of installed packages, and on what the model
    writes (temperature 1, 192 tokens) behind the openings of a sixteenth as many others: half of them as they
    stand, half of them, where the tokenizer has a chat template, as a user's question.

    It goes on after a kill, as a `CoderJob` does. Beside the coder's weights lies `texts.json`: which
    packages were read, in which versions, under which licences, and a hash of all texts.

    Args:
        site: where the model is read.
        passages: of some thousand tokens at most.

    Raises:
        DataError: the packages have fewer passages.
        OutputError: `out` exists, cannot be written, or `<out>.work` holds the work of another call.
        UnknownNameError: no such site.
    """
    out, at = check_new(out), host.check_site(site)
    read = documentation(passages + max(2, passages // 16), seed=config.seed)
    plan = {
        "base": host.weight_hash,
        "identity": {"base": host.fingerprint},
        "site": str(at),
        "texts": hashlib.sha256("\0".join(read.texts).encode()).hexdigest(),
        "passages": passages,
        "config": config.model_dump(mode="json"),
    }

    def texts(work: Path) -> TrainingTexts:
        written = _continued(host, read.texts[passages:], work=work, progress=progress)
        fitted = [_fitted(host, text) for text in read.texts[:passages]]
        return TrainingTexts([*written, *fitted], _record(host, read, written, fitted))

    return CoderJob(host, config, at, out, KEEP).train(plan, texts, progress=progress)


def _continued(host: Host, texts: Sequence[str], *, work: Path, progress: bool) -> list[Rollout]:
    """What the model writes behind openings; those that were finished are read."""
    openings = [text[:OPENING] for text in texts]
    halves = {"plain": (host, openings[::2])}
    if openings[1::2]:
        in_chat = host if host.tokenizer.chat_template is None else host.with_prompt(CHAT)
        halves["chat"] = (in_chat, openings[1::2])
    written: list[Rollout] = []
    for name, (writer, prompts) in halves.items():
        file = work / f"{name}.jsonl"
        if not file.exists():
            generate(writer, prompts, decode=CONTINUED, receipt="none", progress=progress).save(file)
        written += Rollouts.load(file)
    return written


def _fitted(host: Host, text: str) -> str:
    """A text, or as much of its beginning as the model has positions for."""
    while (n := len(host.encode(text))) > host.n_positions:
        text = text[: len(text) * host.n_positions // n]
    return text


def _record(
    host: Host, read: Passages, written: Sequence[Rollout], fitted: Sequence[str]
) -> dict[str, object]:
    return {
        "passages": len(fitted),
        "sha256": hashlib.sha256("\0".join(read.texts).encode()).hexdigest(),
        "tokens_of_passages": sum(len(host.encode(text)) for text in fitted),
        "rollouts": len(written),
        "tokens_of_rollouts": sum(len(rollout.all_ids) for rollout in written),
        "sources": [source._asdict() for source in read.sources],
    }
