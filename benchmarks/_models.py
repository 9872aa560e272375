"""Models by name, and texts for them: random ones of two sizes, whose speed does not depend on what the
weights are, and SmolLM2 (`make smollm2`), whose vocabulary, depth and texts are real."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers.masking_utils import create_causal_mask

import reasonmech as rm
from reasonmech.coders import SAELensCoder, hook_of_site
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.testing import tiny_host

VOCAB, SMOLLM2 = 4096, "smollm2"
DOCS = Path(__file__).parents[1] / "docs"
ONSETS = {"tiny": "w20", "mid": "w20", SMOLLM2: "Now"}  # some word, which begins some kind of sentence
SHAPES = {"tiny": {"n_layers": 4, "d_model": 64}, "mid": {"n_layers": 8, "d_model": 384}}


def chosen(sizes: Sequence[str]) -> list[str]:
    """Sizes named on the command line; those that a script has, where none is: SmolLM2 if it is here."""
    return sys.argv[1:] or [size for size in sizes if size != SMOLLM2 or smollm2_directory().is_dir()]


def rounds(size: str) -> int:
    """How often a side runs: fewer times where a run takes seconds."""
    return 3 if size == SMOLLM2 else 5


def smollm2_directory() -> Path:
    """Where `make smollm2` puts it, or what $SMOLLM2 says."""
    return Path(os.environ.get("SMOLLM2", Path(__file__).parents[1] / ".smollm2"))


def make_host(size: str) -> rm.hosts.Host:
    """A random Qwen2 of 4 layers and 64 dimensions ("tiny"), or of 8 and 384 ("mid"), or SmolLM2-135M in
    float32 ("smollm2"), that never ends a text."""
    torch.set_num_threads(1)
    if size == SMOLLM2:
        host = rm.load_host(smollm2_directory(), dtype=torch.float32)
    else:
        host = tiny_host("qwen2", vocab_size=VOCAB, **SHAPES[size])
    with torch.no_grad():
        host.unembedding()[list(host.eos_ids)] = 0
    return host


def make_texts(
    host: rm.hosts.Host, rows: int, length: int, *, seed: int = 0
) -> tuple[torch.Tensor, list[str]]:
    """[row, pos] ids and the texts that encode to them: random ordinary words, or of a real model pieces of
    this repository's documentation."""
    if host.tokenizer.convert_tokens_to_ids("w0") != host.tokenizer.unk_token_id:
        ids = random_ids(rows, length, seed=seed)
        return ids, as_texts(host, ids)
    pages = "\n".join(path.read_text() for path in sorted(DOCS.glob("*.md")))
    everything = host.tokenizer.encode(pages, add_special_tokens=False)
    start, kept, texts = seed * len(everything) // 7, [], []
    while len(kept) < rows:  # pieces that are read back as they were cut
        start = (start + length) % (len(everything) - length)
        text = host.tokenizer.decode(everything[start : start + length])
        if len(encoded := host.encode(text)) == length:
            kept.append(encoded)
            texts.append(text)
    return torch.tensor(kept), texts


def random_ids(rows: int, length: int, *, seed: int = 0) -> torch.Tensor:
    """[row, pos] ids of ordinary words."""
    return torch.randint(10, VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def as_texts(host: rm.hosts.Host, ids: torch.Tensor) -> list[str]:
    """The same as text; the tokenizer is one word, one token."""
    return [" ".join(host.tokenizer.convert_ids_to_tokens(row)) for row in ids.tolist()]


def run_from(host: rm.hosts.Host, layer: int, x: torch.Tensor) -> torch.Tensor:
    """Blocks from `layer` on, norm and head of the last token, and nothing else: what a suffix costs. [row,
    vocab]"""
    inner, at = host.model.model, torch.arange(x.shape[1])[None]
    mask = create_causal_mask(
        config=inner.config, inputs_embeds=x, attention_mask=None, past_key_values=None, position_ids=at
    )
    rotary = inner.rotary_emb(x, at)
    for block in host.layers[layer:]:
        x = block(x, attention_mask=mask, position_ids=at, position_embeddings=rotary)
    return host.logits_of(x[:, -1])


def jumprelu_coder(host: rm.hosts.Host, layer: int, d_sae: int) -> SAELensCoder:
    """A random JumpReLU coder of a block's output, whose features fire on some tokens and not on others."""
    from sae_lens import JumpReLUSAE, JumpReLUSAEConfig  # noqa: TID251 - to make a file in its layout
    from sae_lens.saes.sae import SAEMetadata  # noqa: TID251

    site = host.check_site(f"resid_post.{layer}")
    model = {"model_hash": host.weight_hash, "model_identity": host.model_identity().beyond_weights()}
    metadata = SAEMetadata(model_name=host.name, hook_name=hook_of_site(site), reasonmech=model)
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=host.d_model, d_sae=d_sae, metadata=metadata))
    rows = torch.randn(d_sae, host.d_model, generator=torch.Generator().manual_seed(0))
    sae.W_dec.data = torch.nn.functional.normalize(rows, dim=-1)
    sae.W_enc.data = sae.W_dec.data.T.contiguous()
    sae.threshold.data = torch.full((d_sae,), 0.5)
    with TemporaryDirectory() as directory:
        sae.save_model(Path(directory))
        return rm.load_coder(directory, host=host)


def as_rollouts(ids: torch.Tensor) -> list[rm.runtime.Rollout]:
    """Rows of ids as rollouts that were prompted with their first token."""
    n = ids.shape[1] - 1
    settings = {
        "by_environment": (False,) * n,
        "steered": (False,) * n,
        "stop": "length",
        "text": "",
        "sample": 0,
    }
    return [
        Rollout(
            problem=Problem(id=f"row/{i}", prompt="", answer=""),
            prompt_ids=(row[0],),
            ids=tuple(row[1:]),
            **settings,
        )
        for i, row in enumerate(ids.tolist())
    ]
