"""read_model: weights out of a checked directory, or from the Hub, as transformers builds a model of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    StrictDataclassError,
)
from transformers import AutoModelForCausalLM, PreTrainedModel

from reasonmech.errors import CorruptFileError, MismatchError, UnknownNameError
from reasonmech.hosts.checkpoint import check_checkpoint, check_quantised, check_report, quantised_weights
from reasonmech.hosts.on_demand import SMOLLM2, locate
from reasonmech.hosts.tokenizer_files import is_path
from reasonmech.own_memory import own_memory

SOURCES: Final = (
    "an existing directory or GGUF file",
    "owner/name on the Hub",
    "organism:NAME/base",
    SMOLLM2,
)


def read_model(
    source: str | Path, *, dtype: torch.dtype | None, device_map: str | dict[str, int | str] | None
) -> PreTrainedModel:
    """The model of a source that names no adapter. Raises what `load_host` does."""
    where = _where(source)
    read: Any = AutoModelForCausalLM.from_pretrained  # with output_loading_info it returns a pair
    try:
        model, report = read(
            where,
            dtype=dtype or "auto",
            device_map=device_map,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except OSError as error:
        if Path(where).is_dir():
            raise CorruptFileError(
                f"transformers finds no model in {source}: {error}", do="give what save_pretrained wrote"
            ) from error
        raise _not_on_hub(str(source), error) from error
    except ImportError as error:
        if "quanti" not in str(error):
            raise
        raise quantised_weights(str(source), str(error)) from error
    except ValueError as error:
        raise MismatchError(
            f"transformers cannot build {source}: {error}",
            allowed="architectures that transformers itself has; code shipped beside weights is never run",
        ) from error
    except (RuntimeError, AttributeError, TypeError, KeyError, StrictDataclassError) as error:
        if "mismatch" in str(error):
            raise _other_shapes(source, error) from error
        if isinstance(error, RuntimeError):  # no memory, say
            raise
        raise CorruptFileError(
            f"transformers fails at {source}: {type(error).__name__}: {error}",
            do="compare its config.json with that of the model it was saved from",
        ) from error
    check_quantised(model.config.to_dict(), str(source))  # of a Hub name it is known only now
    check_report(report, str(source))
    own_memory(model)
    return model


def _other_shapes(source: str | Path, error: Exception) -> CorruptFileError:
    """The error for weights of other shapes than the config's, of which transformers says no more."""
    return CorruptFileError(
        f"the weights of {source} have other shapes than its config.json says",
        allowed="weights and a config of one model",
        do="mend config.json (vocab_size, where embeddings were resized; hidden_size ...)",
    )


def _where(source: str | Path) -> str:
    """What to hand to Hugging Face: a checked local directory, or a Hub name."""
    local = locate(source)
    if local is not None:
        check_checkpoint(local)
        return str(local)
    text = str(source)
    if is_path(source):
        raise UnknownNameError("model", text, SOURCES, do=f"no directory {text!r} is there: look at its path")
    return text


def _not_on_hub(name: str, error: BaseException) -> UnknownNameError:
    """The error for a name under which Hugging Face has nothing for us, by what it says is the cause."""
    causes: list[BaseException] = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        do = f"accept its licence at hf.co/{name}, and log in: hf auth login"
    elif any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        do = "the Hub has no such name: look at its spelling; of a private model, log in: hf auth login"
    elif name.endswith((".gguf", ".safetensors")):
        do = "there is no such file: look at its path"
    elif any(isinstance(cause, LocalEntryNotFoundError | OfflineModeIsEnabled) for cause in causes):
        do = (
            "no directory of that name is here, it is not in the Hub's cache, and the Hub cannot be reached "
            f"(or HF_HUB_OFFLINE is set): look at the path, or run hf download {name} where it can be"
        )
    else:
        do = f"look at its path or name; transformers says: {error}"
    return UnknownNameError("model", name, SOURCES, do=do)
