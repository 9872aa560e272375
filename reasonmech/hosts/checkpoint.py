"""Checks of a checkpoint directory's files, made before any weight is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from safetensors import safe_open
from transformers import PreTrainedModel

from reasonmech.arguments import describe
from reasonmech.errors import CorruptFileError, MismatchError, PickleRefusedError
from reasonmech.files import check_safetensors
from reasonmech.hosts.adapter_files import AGAIN, check_adapters
from reasonmech.json_text import read_object

PICKLES: Final = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")
WHOLE: Final = "model.safetensors"
INDEX: Final = "model.safetensors.index.json"
SHARD: Final = re.compile(r"model-\d+-of-\d+\.safetensors")
READABLE: Final = ("fp8",)  # quantised formats whose weights transformers turns into plain ones
# buffers that old checkpoints hold and that a model computes itself
COMPUTED: Final = re.compile(
    r"(rotary_emb\.(inv_freq|cos_cached|sin_cached)|masked_bias|(^|\.)position_ids)$"
)

_SETTINGS: Final = {"eos_token_id?": (int, [int], type(None))}


def check_checkpoint(directory: Path) -> None:
    """Check that a directory holds a complete safetensors checkpoint.

    Raises:
        PickleRefusedError: its weights are pickled.
        CorruptFileError: config.json or weights are missing, unreadable or truncated.
        MismatchError: it holds an adapter, alone, beside weights or in a folder in it, or quantised weights.
    """
    if directory.is_file() and directory.suffix == ".safetensors":
        raise CorruptFileError(
            f"{directory} is one file of weights",
            allowed="a directory with config.json and *.safetensors",
            do=f"give its directory: {str(directory.parent)!r}",
        )
    check_adapters(directory)
    config = directory / "config.json"
    if not config.is_file():
        raise CorruptFileError(
            f"{directory} holds no config.json",
            do="give a directory written by save_pretrained, or a Hub name",
        )
    settings = read_object(config, _SETTINGS | {"quantization_config?": (dict, type(None))}, do=AGAIN)
    check_quantised(settings, str(directory))
    for name, shape in (("generation_config.json", _SETTINGS), ("tokenizer_config.json", {})):
        if (directory / name).is_file():  # transformers would do without them
            read_object(directory / name, shape, do=AGAIN)
    shards = sorted(directory.glob("*.safetensors"))
    _check_shards(directory, shards)
    of_file = dict[str, dict[str, str]]()
    for shard in shards:
        check_safetensors(shard)
        of_file[shard.name] = _check_tensors(shard)
    _check_index(directory / INDEX, of_file)
    dtypes = {name: dtype for dtypes in of_file.values() for name, dtype in dtypes.items()}
    _check_scales(dtypes, str(directory), plain=settings.get("quantization_config") is None)


def _check_shards(directory: Path, shards: Sequence[Path]) -> None:
    """Check that there are weights, all that an index names, and one set of them."""
    if not shards:
        pickled = sorted(p.name for pattern in PICKLES for p in directory.glob(pattern))
        if pickled:
            raise PickleRefusedError(
                f"{directory} holds pickled weights only ({', '.join(pickled)}); loading a pickle executes "
                "code",
                allowed="*.safetensors",
                do="convert it where you trust it: model.save_pretrained(directory) writes safetensors",
            )
        raise CorruptFileError(f"{directory} holds no weights", allowed="*.safetensors", do="copy it again")
    index = directory / INDEX
    files = {shard.name for shard in shards}
    named: set[str] = set(_weight_map(index).values()) if index.is_file() else {WHOLE} & files
    missing = sorted(named - files)
    if missing:
        raise CorruptFileError(f"{directory} lacks {', '.join(missing)}", do=AGAIN)
    strays = sorted(name for name in files - named if SHARD.fullmatch(name))
    if named and strays:
        raise CorruptFileError(
            f"{directory} holds {', '.join(strays)}, which neither is {WHOLE} nor in an index of files",
            allowed="one set of weights: Hugging Face would leave these out",
            do="move away what is not meant, or copy the index again",
        )
    if WHOLE in files and WHOLE not in named:
        raise CorruptFileError(
            f"{directory} holds two sets of weights: {WHOLE}, and the {len(named)} files of {index.name}",
            allowed="one set: Hugging Face would read the first and leave the other",
            do=f"move away what is not meant: {WHOLE}, or {index.name} with its files",
        )


def _weight_map(index: Path) -> dict[str, str]:
    """Which file holds which tensor, by an index."""
    weight_map: dict[str, str] = read_object(index, {"weight_map": {"*": str}}, do=AGAIN)["weight_map"]
    return weight_map


def _check_index(index: Path, of_file: Mapping[str, Mapping[str, str]]) -> None:
    """Refuse shards that hold other tensors than their index says: of one that lies in two, either is read.

    Args:
        of_file: dtypes of each file's tensors.
    """
    if not index.is_file():
        return
    weight_map = _weight_map(index)
    files = sorted(set(weight_map.values()))
    tensors = {(file, name) for file in files for name in of_file[file]}
    named = {(file, name) for name, file in weight_map.items()}
    beyond = sorted(entry for entry in tensors - named if not COMPUTED.search(entry[1]))
    absent = sorted(entry for entry in named - tensors if not COMPUTED.search(entry[1]))
    if not beyond and not absent:
        return
    file, name = (beyond or absent)[0]
    if absent and not beyond:
        what = f"{file} lacks {name}, which {index.name} says it holds"
    elif name in weight_map:
        what = f"{file} holds {name}, which {index.name} says {weight_map[name]} holds"
    else:
        what = f"{file} holds {name}, of which {index.name} says nothing"
    raise CorruptFileError(
        f"{index.parent}: {what} ({len(beyond) + len(absent)} such differences)",
        allowed="each tensor once, in the file that the index names",
        do="copy or download index and files again, of one and the same version",
    )


def _check_tensors(shard: Path) -> dict[str, str]:
    """The dtypes of a file's tensors. Whole numbers in place of weights, which would be read as if they were
    the weights, are refused."""
    with safe_open(shard, framework="pt") as file:
        dtypes = {name: str(file.get_slice(name).get_dtype()) for name in file.keys()}  # noqa: SIM118
    whole = next((n for n, dtype in dtypes.items() if n.endswith("weight") and dtype[0] in "IU"), None)
    if whole:
        raise quantised_weights(str(shard), f"{whole} is {dtypes[whole]}")
    return dtypes


def _check_scales(dtypes: Mapping[str, str], source: str, *, plain: bool) -> None:
    """Refuse weights in eight bits of which nothing says by what they are to be multiplied: they would be
    read as if they were the weights, or stay what nobody can calculate with.

    Args:
        plain: config.json does not say that they are quantised.
    """
    eight = sorted(name for name, dtype in dtypes.items() if dtype.startswith("F8_"))
    bare = [name for name in eight if not any(scale in dtypes for scale in _scales_of(name))]
    if bare:
        n = f"{len(bare)} of {len(eight)} weights in {dtypes[bare[0]]}"
        raise quantised_weights(source, f"{n} have no scale, such as {bare[0]} (no {_scales_of(bare[0])[0]})")
    if eight and plain:
        how = "no quantization_config in its config.json says how they are read"
        raise quantised_weights(source, f"{eight[0]} is {dtypes[eight[0]]}, and {how}")


def _scales_of(name: str) -> tuple[str, ...]:
    """How a weight's scale may be called."""
    stem = name.removesuffix("weight")
    return (f"{name}_scale_inv", f"{name}_scale", f"{stem}scale_inv", f"{stem}scale")


def check_eight_bits(model: PreTrainedModel, source: str) -> None:
    """Refuse a model whose weights stayed in eight bits: no sum over them is what it is in a wider dtype."""
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and weight.element_size() == 1:
            raise quantised_weights(source, f"{name} is {weight.dtype} after loading")


def check_quantised(settings: Mapping[str, Any], source: str) -> None:
    """Refuse quantised weights, by a config's own account.

    What reads them depends on packages and devices (ImportError on one machine, other numbers on another),
    and a format that transformers does not know it reads as if it were none, without an error.

    Args:
        settings: of config.json.
    """
    quantised: object = settings.get("quantization_config")
    if quantised is None:
        return
    if not isinstance(quantised, Mapping):
        raise CorruptFileError(
            f"config.json of {source} says quantization_config = {describe(quantised)}",
            allowed="a JSON object, or none",
            do="take it out where the weights are plain ones; or copy the file again",
        )
    method = quantised.get("quant_method") or "a format without a name"
    if method not in READABLE:
        raise quantised_weights(source, f"{method} (quantization_config of its config.json)")


def quantised_weights(source: str, how: str) -> MismatchError:
    """The error for quantised weights; `how`: their format, or what said so."""
    return MismatchError(
        f"the weights of {source} are quantised: {how}",
        allowed="weights in float32, bfloat16 or float16",
        do="load the model that it was quantised from; or write it out where its packages are: "
        "AutoModelForCausalLM.from_pretrained(DIR).dequantize().save_pretrained(NEW)",
    )


def check_report(report: Mapping[str, Any], source: str) -> None:
    """Raise CorruptFileError where weights and config do not belong together, by transformers' own account.

    It would fill what is missing with random numbers, and leave out what the config has no place for: the
    biases of a llamafied Qwen, say, without which the text is nonsense.
    """
    absent = sorted({*report["missing_keys"], *(entry[0] for entry in report["mismatched_keys"])})
    left_out = sorted(key for key in report["unexpected_keys"] if not COMPUTED.search(key))
    renamed = next((key for key in left_out if any(key.endswith("." + name) for name in absent)), None)
    if renamed:
        raise CorruptFileError(
            f"{source} calls its weights otherwise than its config does, such as {renamed}",
            allowed=f"names such as {next(name for name in absent if renamed.endswith('.' + name))}",
            do="save it again without what it was wrapped in (peft, torch.compile, DistributedDataParallel)",
        )
    if absent:
        raise CorruptFileError(
            f"{source} lacks {len(absent)} weights that its config needs, such as {', '.join(absent[:3])}",
            do="use a complete checkpoint: Hugging Face would fill the gaps with random numbers",
        )
    if left_out:
        raise CorruptFileError(
            f"{source} holds {len(left_out)} weights that its config has no place for, such as "
            f"{', '.join(left_out[:3])}",
            allowed="weights and a config of one model: Hugging Face would leave these out",
            do="mend config.json (attention_bias, model_type, num_hidden_layers ...), or take them out of "
            "the file where they belong to no forward pass (a value head)",
        )
