"""Coders that SAELens' directory of releases lists, read by SAELens' own loaders."""

from __future__ import annotations

import difflib

from reasonmech.coders.directory import without_advice
from reasonmech.coders.saelens import SAELensCoder, library
from reasonmech.errors import OutputError, UnknownNameError


def read_release(release: str, sae_id: str) -> SAELensCoder:
    """Download an SAE that SAELens' directory lists (Qwen-Scope, Llama-Scope, Gemma-Scope, ...).

    Raises:
        UnknownNameError: no such release or id; near ones are listed.
        OutputError: it is neither in the Hub's cache nor can it be downloaded.
    """
    known = library().loading.pretrained_saes_directory.get_pretrained_saes_directory()
    name = f"{release}/{sae_id}"
    if release not in known:
        near = difflib.get_close_matches(release, known, n=8, cutoff=0.4)
        raise UnknownNameError("coder", name, near or sorted(known), do="or give a directory")
    if sae_id not in known[release].saes_map:
        raise UnknownNameError(f"coder of release {release!r}", sae_id, list(known[release].saes_map))
    try:
        with without_advice():
            sae = library().SAE.from_pretrained(release, sae_id)
        return SAELensCoder(sae, name=name)
    except OSError as error:  # all errors of the Hub and of the network are
        raise OutputError(
            f"{name} (repository {known[release].repo_id}) cannot be downloaded: {error}",
            do="try again with a network, or copy it and give the directory",
        ) from error
