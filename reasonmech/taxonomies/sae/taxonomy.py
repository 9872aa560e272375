"""SentenceTaxonomy: categories of sentences as the latents of a tiny TopK SAE on their mean activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import torch
from jaxtyping import Float, Int
from safetensors.torch import load_file, save_file
from torch import Tensor

from reasonmech.coders.coder import SparseCoder, Trained
from reasonmech.coders.config import CoderConfig, load_coder_config
from reasonmech.coders.directory import read_directory
from reasonmech.coders.load import check_belongs, check_directory
from reasonmech.coders.recipe import ROWS, SENTENCES
from reasonmech.coders.saelens import SAELensCoder
from reasonmech.coders.source import TensorSource, check_captured
from reasonmech.coders.train import train_together
from reasonmech.digest import check_model, identity_of
from reasonmech.door import checked
from reasonmech.errors import ConfigError, CorruptFileError, DataError, MismatchError
from reasonmech.files import check_safetensors, new_directory
from reasonmech.site import Site
from reasonmech.taxonomies.sae.sentences import Sentences, SentenceSource

SIZES: Final = (5, 10, 15, 20, 25)
CENTRE_FILE: Final = "centre.safetensors"
NONE: Final = -1  # category of a sentence in which no latent is active


@final
@dataclass(frozen=True, eq=False)
class SentenceTaxonomy:
    """Categories of sentences, after "Base Models Know How to Reason, Thinking Models Learn When" (arXiv
    2510.07364).

    A sentence's mean activation m becomes z = (m - centre) / ||m - centre||; its codes are the k active
    latents of a TopK SAE on z, its category the strongest of them. Ours differs in that a negative
    pre-activation is no activity (ReLU before TopK, as in SAELens), so that a sentence may belong to none.

    Attributes:
        coder: the SAE on z. It reads no token of the stream as it is: `load_coder` refuses it.
        centre: mean of the sentences it was trained on.
    """

    coder: SparseCoder
    centre: Float[Tensor, " d_model"]

    @property
    def n(self) -> int:
        """Number of categories."""
        return self.coder.d_sae

    def means(self, acts: SentenceSource, sentences: Sentences) -> Float[Tensor, "sentence d_model"]:
        """Mean activations of sentences at its site.

        Raises:
            MismatchError: the activations are of another model than it was trained on. As `Sentences.means`
                otherwise.
        """
        check_model(
            "the taxonomy was trained on weights",
            identity_of(self.coder, str(self.coder.model_hash)),
            identity_of(acts, acts.host_hash),
            model=f"the model {acts.host_name!r} of the activations",
            do="capture from the model that it was trained on, or train one on these activations",
        )
        return sentences.means(acts, site=self.coder.site)

    def rows(self, means: Float[Tensor, "sentence d_model"]) -> Float[Tensor, "sentence d_model"]:
        """z of mean activations, each of norm 1."""
        return torch.nn.functional.normalize(means.float() - self.centre, dim=-1)

    def codes(self, means: Float[Tensor, "sentence d_model"]) -> Float[Tensor, "sentence latent"]:
        """Activity of every latent."""
        return self.coder.encode(self.rows(means))

    def categories(self, means: Float[Tensor, "sentence d_model"]) -> Int[Tensor, " sentence"]:
        """The strongest latent of each sentence; -1 where none is active."""
        codes = self.codes(means)
        strongest = codes.max(-1)
        return torch.where(strongest.values > 0, strongest.indices, NONE)

    @checked
    def save(self, path: str | Path) -> None:
        """Write a new directory: the SAE in SAELens' layout, and the centre. Raises OutputError."""
        with new_directory(path) as partial:
            partial.rmdir()
            self.coder.save(partial)
            save_file({"centre": self.centre.contiguous()}, partial / CENTRE_FILE)


@checked
def load_taxonomy(path: str | Path, *, host: Trained | None = None) -> SentenceTaxonomy:
    """Read what `SentenceTaxonomy.save` wrote, and check that it belongs to a model.

    Raises:
        CorruptFileError: a file is missing or damaged. MismatchError: it is of another model, or no taxonomy.
    """
    directory = Path(path).expanduser()
    check_directory(directory)
    coder, file = SAELensCoder(read_directory(directory), name=directory.name), directory / CENTRE_FILE
    if coder.record.get(ROWS) != SENTENCES:
        raise MismatchError(
            f"{directory} holds a coder of tokens, no taxonomy of sentences", do="use load_coder"
        )
    if not file.is_file():
        raise CorruptFileError(f"{directory} lacks {CENTRE_FILE}", do="copy it again")
    check_safetensors(file)
    centre = load_file(file).get("centre")
    if centre is None or centre.shape != (coder.d_in,):
        raise CorruptFileError(f"{file} holds no centre of {coder.d_in} numbers", do="copy it again")
    if host is not None:
        check_belongs(coder, host)
    return SentenceTaxonomy(coder, centre.clone())  # not a part of the file, which may be written anew


@checked
def train_taxonomies(
    acts: SentenceSource,
    sentences: Sentences,
    *,
    site: Site | str,
    sizes: Sequence[int] = SIZES,
    config: CoderConfig | str | Path = "taxonomy",
    progress: bool = True,
) -> dict[int, SentenceTaxonomy]:
    """Train a taxonomy of each size on the sentences, all in one pass.

    Give it the training half of `sentences.split()`, and score on the other one.

    Args:
        acts: activations of the rollouts that the sentences are of.
        site: where; the paper chose a layer per model by the scores.
        sizes: numbers of categories.
        config: settings; `d_sae` is replaced by each size.

    Returns:
        size -> taxonomy.

    Raises:
        DataError: fewer sentences than one batch, or they all have the same mean. UnknownNameError: no such
            site.
        ConfigError: the architecture's k is larger than a size.
    """
    settings, sizes = load_coder_config(config), tuple(dict.fromkeys(sizes))
    if not sizes or min(sizes) < (settings.k or 1):
        raise ConfigError(
            f"sizes {list(sizes)} with k = {settings.k}", allowed=f"sizes of at least {settings.k or 1}"
        )
    at = check_captured(acts, site)
    means = sentences.means(acts, site=at)
    if len(means) < settings.batch_size:
        raise DataError(
            f"{len(means)} sentences are fewer than one batch of {settings.batch_size}",
            do="use more rollouts, or lower batch_size",
        )
    centre = means.mean(0)
    moved = means - centre
    if bool((moved.norm(dim=-1) == 0).any()):
        raise DataError("a sentence has exactly the mean activation of all", do="use sentences that differ")
    model = identity_of(acts, acts.host_hash)
    beyond = None if model is None else model.beyond_weights()
    unit = torch.nn.functional.normalize(moved, dim=-1)
    rows = TensorSource(unit, (at,), acts.host_name, acts.host_hash, beyond)
    jobs = {f"taxonomy of {size}": (settings.model_copy(update={"d_sae": size}), at) for size in sizes}
    coders = train_together(
        jobs, rows, device=torch.device("cpu"), progress=progress, record={ROWS: SENTENCES}
    )
    return {size: SentenceTaxonomy(coder, centre) for size, coder in zip(sizes, coders.values(), strict=True)}
