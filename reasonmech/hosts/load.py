"""load_host: a directory, a Hub name, a Hugging Face model or a TransformerBridge becomes a Host."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, Union, cast

import torch
from huggingface_hub.errors import (
    GatedRepoError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    StrictDataclassError,
)
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils.peft_utils import find_adapter_config_file

from reasonmech.arguments import check_path, check_type, describe
from reasonmech.device import device_of
from reasonmech.door import checked
from reasonmech.errors import (
    ArgumentError,
    CorruptFileError,
    MismatchError,
    NonFiniteError,
    UnknownNameError,
)
from reasonmech.hosts.adapters import check_adapter
from reasonmech.hosts.checkpoint import (
    check_checkpoint,
    check_eight_bits,
    check_quantised,
    check_report,
    quantised_weights,
)
from reasonmech.hosts.host import Host
from reasonmech.hosts.lens import is_bridge, model_of_bridge
from reasonmech.hosts.on_demand import SMOLLM2, locate
from reasonmech.hosts.tokenizer_files import is_path, read_tokenizer
from reasonmech.hosts.vocabulary import check_round_trip
from reasonmech.mode import no_inference_mode
from reasonmech.own_memory import own_memory
from reasonmech.paths import ORGANISM_PREFIX

if TYPE_CHECKING:
    from reasonmech.hosts.lens import TransformerBridge

Placement: TypeAlias = str | torch.device | dict[str, int | str]
DEVICE_MAPS: Final = ("auto", "balanced", "balanced_low_0", "sequential")  # those that Hugging Face computes
DEVICES: Final = f'a device ("cuda:0"), {", ".join(DEVICE_MAPS)}, or a mapping from modules to devices'
SOURCES: Final = (
    "an existing directory or GGUF file",
    "owner/name on the Hub",
    "organism:NAME/base",
    SMOLLM2,
)
Source: TypeAlias = Union[str, Path, PreTrainedModel, "TransformerBridge"]


@checked
def load_host(
    source: Source,
    *,
    tokenizer: PreTrainedTokenizerBase | str | Path | None = None,
    dtype: torch.dtype | None = None,
    device: Placement | None = None,
    name: str | None = None,
) -> Host:
    """Load a model under study, and check that its files, weights and tokenizer are what they seem to be.

    Args:
        source: a directory written by `save_pretrained`, a GGUF file (dequantised once, into the cache),
            "organism:NAME/base", "smollm2-135m" (`make smollm2` gets it), a Hub name, or a model you
            already have (which is used as it is; a TransformerBridge shares its parameters with the host).
        tokenizer: a tokenizer, or where to load it from. None: from the model's own directory. A path that
            ends in "tokenizer.json" is read as it stands, with the special tokens that the
            tokenizer_config.json beside it names; of a directory transformers takes the class that goes with
            the model's type, whatever tokenizer.json says.
        dtype: dtype of the weights. None: the checkpoint's.
        device: where the weights go: "cuda:0" for all of them; "auto", "balanced" or a mapping from modules
            to devices is passed on to Hugging Face (several GPUs). None: the CPU.
        name: how results name the host. None: the directory's or Hub name.

    Raises:
        UnknownNameError: neither a directory nor a model of the Hub.
        NotBuiltError: an organism that does not ship and is not built yet, or SmolLM2 before `make smollm2`.
        PickleRefusedError, CorruptFileError: weights are pickled; or missing, truncated, incomplete, or more
            than the config has a place for.
        NonFiniteError: a weight is NaN or infinite.
        MismatchError: the tokenizer loses text or does not fit; the architecture is unknown; an adapter that
            is not merged; weights that are quantised.
        ArgumentError: a dtype or device that is none, or something that is no model.
    """
    if dtype is not None:
        check_type(dtype, torch.dtype, name="dtype", allowed="torch.float32, torch.bfloat16, ...")
    if isinstance(source, str | Path):
        check_path(source, name="source", allowed="a directory, or the name of a model")
        spread = isinstance(device, dict) or (isinstance(device, str) and device in DEVICE_MAPS)
        device_map = device if spread and not isinstance(device, torch.device) else None
        where = (
            None
            if device is None or isinstance(device, dict) or spread
            else device_of(device, allowed=DEVICES)
        )
        with no_inference_mode():
            model, origin = _from_checkpoint(source, dtype=dtype, device_map=device_map), str(source)
        if where is not None:
            nn.Module.to(model, where)
    else:
        if not (dtype is None and device is None):
            raise MismatchError(
                "dtype and device belong to loading; this model is loaded already",
                do="cast or move it yourself before handing it over",
            )
        model, origin = _from_object(source)
        if tokenizer is None and not isinstance(source, PreTrainedModel):
            tokenizer = cast(PreTrainedTokenizerBase, source.tokenizer)
    name = name or origin.removeprefix(ORGANISM_PREFIX) or type(model).__name__
    words = read_tokenizer(tokenizer if tokenizer is not None else origin, name=name)
    check_eight_bits(model, name)
    _check_finite(model, n_tokens=len(words), name=name)
    check_round_trip(words, name=name)
    return Host(model, words, name=name)


def _from_checkpoint(
    source: str | Path, *, dtype: torch.dtype | None, device_map: str | dict[str, int | str] | None
) -> PreTrainedModel:
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
    _check_hub_adapter(text)
    return text


def _check_hub_adapter(name: str) -> None:
    """Refuse an adapter on the Hub, as one in a directory."""
    with suppress(OSError, ValueError):  # no such model, or no name: reading the model says so
        adapter = find_adapter_config_file(name)
        if adapter is not None:
            check_adapter(Path(adapter), name)


def _from_object(source: PreTrainedModel | TransformerBridge) -> tuple[PreTrainedModel, str]:
    if isinstance(source, PreTrainedModel):
        return source, source.name_or_path or ""
    if is_bridge(source):
        return model_of_bridge(source), str(source.cfg.model_name)
    if any(base.__module__.partition(".")[0] == "peft" for base in type(source).__mro__):
        raise ArgumentError(
            f"{describe(source)} wraps a model and its adapter",
            allowed="a plain transformers model",
            do="merge it first: rm.load_host(peft_model.merge_and_unload(), tokenizer=...)",
        )
    raise ArgumentError(
        f"{describe(source)} is no model that can be studied",
        allowed="a path, a Hub name, a transformers PreTrainedModel, a TransformerBridge",
        do='rm.load_host("owner/name"), or one side of rm.load_pair(...)',
    )


def _not_on_hub(name: str, error: BaseException) -> UnknownNameError:
    """The error for a name under which Hugging Face has nothing for us, by what it says is the cause."""
    causes: list[BaseException] = [error]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    if any(isinstance(cause, GatedRepoError) for cause in causes):
        do = f"accept its licence at hf.co/{name}, and log in: hf auth login"
    elif any(isinstance(cause, RepositoryNotFoundError) for cause in causes):
        do = "the Hub has no such name: look at its spelling; of a private model, log in: hf auth login"
    elif any(isinstance(cause, LocalEntryNotFoundError | OfflineModeIsEnabled) for cause in causes):
        do = (
            "no directory of that name is here, it is not in the Hub's cache, and the Hub cannot be reached "
            f"(or HF_HUB_OFFLINE is set): look at the path, or run hf download {name} where it can be"
        )
    else:
        do = f"look at its path or name; transformers says: {error}"
    return UnknownNameError("model", name, SOURCES, do=do)


def _check_finite(model: PreTrainedModel, *, n_tokens: int, name: str) -> None:
    """Raise NonFiniteError where a weight is not finite; of rows that no token has, these are named."""
    bad = {key: weight for key, weight in model.named_parameters() if not bool(torch.isfinite(weight).all())}
    if not bad:
        return
    happened = f"{len(bad)} weights of {name!r} hold NaN or infinity, the first is {next(iter(bad))}"
    of_tokens = (model.get_input_embeddings(), model.get_output_embeddings())
    by_token = {id(module.weight) for module in of_tokens if module is not None}
    rows = [(~torch.isfinite(weight)).nonzero()[:, 0] for weight in bad.values()]
    first, last = min(int(of_one.min()) for of_one in rows), max(int(of_one.max()) for of_one in rows)
    if first >= n_tokens and all(id(weight) in by_token for weight in bad.values()):
        raise NonFiniteError(
            f"{happened}: in rows {first} to {last}, which none of the tokenizer's {n_tokens} tokens has",
            allowed="finite numbers in padded rows, too: the model may draw them",
            do=f"fill these rows in the checkpoint, weight[{n_tokens}:] = 0 of {' and '.join(bad)}, or cut "
            f"them off: model.resize_token_embeddings({n_tokens}); then save it again",
        )
    raise NonFiniteError(
        happened, do="load the checkpoint in the dtype it was trained in, or use another one"
    )
