"""Directories in SAELens' layout, read by SAELens once their settings have been checked."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from reasonmech.arguments import describe
from reasonmech.coders.metadata import check_metadata
from reasonmech.coders.old_forms import check_old_forms
from reasonmech.coders.recipe import CONFIG_FILE, WEIGHT_FILE
from reasonmech.coders.saelens import check_architecture, library
from reasonmech.coders.settings import check_leftovers, check_settings, check_tensors
from reasonmech.errors import CorruptFileError, NonFiniteError, UnknownNameError
from reasonmech.json_text import read_object
from reasonmech.own_memory import own_memory


@contextmanager
def without_advice() -> Iterator[None]:
    """Without SAELens' advice to load the model as the coder's record says: that is followed, or refused,
    here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*This SAE has non-empty model_from_pretrained_kwargs")
        yield


def read_directory(path: Path) -> Any:
    """Read a SAELens SAE from a directory in SAELens' layout, whose files have been checked.

    Raises:
        UnknownNameError: SAELens has no such architecture; the ones it has are listed.
        MismatchError: the architecture reads more than one position.
        CorruptFileError: settings or tensors that do not make one. NonFiniteError: NaN or infinity in a
            tensor.
    """
    file, weights = path / CONFIG_FILE, path / WEIGHT_FILE
    written = read_object(file)
    config = _current(written, file)
    architecture, known = config["architecture"], library().registry.SAE_CLASS_REGISTRY
    if not isinstance(architecture, str):
        raise CorruptFileError(
            f"{file} says architecture = {describe(architecture)}", allowed="a string", do="copy it again"
        )
    if architecture not in known:
        raise UnknownNameError(
            "SAE architecture",
            architecture,
            sorted(known),
            do="a trainer's own checkpoint is read after SAELens' save_inference_model has written it",
        )
    check_architecture(architecture)
    check_settings(config, known[architecture][1], file=str(file))
    check_leftovers(
        written, architecture, [config_class for _, config_class in known.values()], file=str(file)
    )
    check_metadata(config["metadata"], reserved=dir(library().saes.sae.SAEMetadata), file=str(file))
    check_old_forms(written, weights, file=str(file))
    check_tensors(weights, architecture, d_in=config["d_in"], d_sae=config["d_sae"])
    try:
        with without_advice():
            sae = library().SAE.load_from_disk(path, converter=_reader(written, weights))
    except (RuntimeError, TypeError, KeyError, ValueError) as error:
        raise CorruptFileError(f"{path} holds no {architecture} SAE: {error}", do="copy it again") from error
    for name, tensor in sae.state_dict().items():
        if not bool(torch.isfinite(tensor).all()):
            raise NonFiniteError(
                f"{name} of {weights} holds NaN or infinity as {config['dtype']}",
                allowed="finite numbers",
                do="copy it again, or train it again",
            )
    own_memory(sae)
    return sae


def _reader(written: Mapping[str, Any], weights: Path) -> Callable[..., tuple[dict[str, Any], Any]]:
    """For SAELens: the settings that were checked, not the file once more, and the tensors."""

    def read(path: object, device: str, **_: object) -> tuple[dict[str, Any], Any]:
        settings = copy.deepcopy(dict(written)) | {"device": device}
        return library().loading.pretrained_sae_loaders.read_sae_components_from_disk(
            settings, weights, device=device
        )

    return read


def _current(written: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """The settings as SAELens reads them: those of a file from before its version 6 by their names of now.

    Raises:
        CorruptFileError: it says nothing of the architecture, which its other settings need.
    """
    metadata = written.get("metadata", {})
    if not isinstance(metadata, dict):
        raise CorruptFileError(
            f"{file} says metadata = {describe(metadata)}", allowed="a mapping", do="copy it again"
        )
    try:
        config = library().loading.pretrained_sae_loaders.handle_config_defaulting(
            copy.deepcopy(dict(written))
        )
    except (TypeError, AttributeError, KeyError, ValueError) as error:
        raise CorruptFileError(
            f"{file} holds no settings of an SAE: {type(error).__name__}: {error}", do="copy it again"
        ) from error
    guessed = "architecture" not in written and "k" in written and config.get("architecture") != "topk"
    if guessed or "architecture" not in config:
        raise CorruptFileError(
            f"{file} names no architecture",
            allowed="topk, jumprelu, standard, ...: what the SAE was trained as",
            do="copy it again; nobody but who trained it can tell",
        )
    return {"metadata": {}} | config
