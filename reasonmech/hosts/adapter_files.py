"""Adapter files in a checkpoint directory: by their settings, and the names of their files and tensors."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from safetensors import SafetensorError, safe_open

from reasonmech.errors import CorruptFileError, MismatchError
from reasonmech.json_text import read_object

AGAIN: Final = "copy or download it again"
ADAPTER: Final = "adapter_config.json"
MERGE: Final = "peft's PeftModel.from_pretrained(base, DIR).merge_and_unload().save_pretrained(NEW)"
HEAD: Final = 4_000_000  # bytes in which a pickle, or a GGUF file, names its tensors
# what peft, LyCORIS, MLX, kohya and AdapterHub call the tensors that they add to a model's own
_TENSORS: Final = (
    r"(?:^|[^A-Za-z])(?:lora_[A-Za-z]+|lora[AB]\b|dora_[a-z]+|ia3_[a-z]+|hada_[a-z]\w*|lokr_[a-z]\w*|vera_[AaBbl]\w*"
    r"|b?oft_(?:r|R|s|blocks|diag)\b|hra_u|fourierft_\w+|vblora_\w+|randlora_\w+|shira_\w+|c3a_\w+|waveft_\w+|delora_\w+"
    r"|bone_\w+|miss_block|road_(?:theta|alpha)|adaption_(?:prompt|gate)|prompt_embeddings|prompt_encoder"
    r"|prefix_encoder|soft_prompt\w*|trainable_tokens_\w+|adapter_(?:down|up)|adapters?\.)"
)
_NAME: Final = re.compile(_TENSORS)
_NAME_IN_BYTES: Final = re.compile(_TENSORS.encode())
_FILE: Final = re.compile(
    r"(?:^|[._-])(?:adapters?|[dq]?lora|ada?lora|loha|lokr|ia3|vera|peft|soft[_-]?prompts?|prompt[_-]tuning|prefix[_-]tuning)"
    r"(?:[._-]|$)",
    re.IGNORECASE,
)
_WEIGHTS: Final = (".safetensors", ".bin", ".pt", ".pth", ".pkl", ".ckpt", ".npz", ".npy", ".gguf")
_DO: Final = f"merge it: {MERGE}; where the weights beside it are meant without it, move {{what}} elsewhere"


def check_adapters(directory: Path) -> None:
    """Refuse a directory that holds an adapter: alone, beside weights, in a folder, of whatever kind.

    transformers reads the weights alone, or what peft knows where peft is installed. Files are known by
    their names, and by those of the tensors in them; nothing is unpickled.

    Raises:
        MismatchError, CorruptFileError: one is there.
    """
    check_adapter(directory / ADAPTER, str(directory))
    _check_named_weights(directory)
    _check_adapters_within(directory)
    for file in sorted(directory.rglob("*")):
        if file.suffix.lower() in _WEIGHTS and file.is_file():
            _check_file(file, directory)


def _check_file(file: Path, directory: Path) -> None:
    tensor = next(_adapted(file), None)
    if tensor is None and not _FILE.search(file.stem):
        return
    how = "by its name" if tensor is None else tensor
    raise MismatchError(
        f"{directory}: {file.relative_to(directory)} holds weights of an adapter ({how}), which would be "
        "ignored",
        allowed="whole weights, in which an adapter is merged",
        do=_DO.format(what=file.name),
    )


def _adapted(file: Path) -> Iterator[str]:
    """Names in a file that an adapter's tensors have."""
    if file.suffix == ".safetensors":
        try:
            with safe_open(file, framework="pt") as opened:
                yield from (name for name in opened.keys() if _NAME.search(name))  # noqa: SIM118
        except (SafetensorError, OSError):
            return  # those that are read are checked as what they are
    elif zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            yield from (name for name in archive.namelist() if _NAME.search(name))
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    with archive.open(name) as opened:
                        yield from _in_bytes(opened.read(HEAD))
    else:
        with file.open("rb") as opened:
            yield from _in_bytes(opened.read(HEAD))


def _in_bytes(content: bytes) -> Iterator[str]:
    for match in _NAME_IN_BYTES.finditer(content):
        yield match.group().decode(errors="replace").strip("\x00._ ")


def check_adapter(config: Path, source: str) -> None:
    """Refuse an adapter, whose file this is, in every installation alike.

    transformers applies one where peft is installed, and ignores it without a word where it is not: the same
    call would give the fine-tuned model on one machine, and its base on another.
    """
    if not config.is_file():
        return
    settings: dict[str, object] = read_object(config, do=AGAIN)
    what = f"a {settings.get('peft_type', 'PEFT')} of {settings.get('base_model_name_or_path') or 'a base'!r}"
    raise MismatchError(
        f"{source} holds an adapter ({ADAPTER}: {what}), which one machine would apply and another ignore",
        allowed="whole weights, in which an adapter is merged",
        do=f"merge it: {MERGE}; where the weights beside it are meant without it, copy them elsewhere",
    )


def _check_named_weights(directory: Path) -> None:
    """Refuse the weights of an adapter whose settings are not there: nobody can merge it, or leave it out."""
    adapters = sorted(file.name for file in directory.glob("adapter_model*"))
    others = sorted(set(directory.glob("*.safetensors")) - set(directory.glob("adapter_model*")))
    if not adapters:
        return
    lacking, merge = f"{adapters[0]}, without {ADAPTER}", f"copy its {ADAPTER} too and merge it: {MERGE}"
    if not others:
        raise CorruptFileError(
            f"{directory} holds no weights but those of an adapter ({lacking})",
            allowed="whole weights, in which an adapter is merged",
            do=merge,
        )
    raise MismatchError(
        f"{directory} holds weights of an adapter ({lacking}) beside {others[0].name}",
        allowed="whole weights, in which an adapter is merged",
        do=f"{merge}; where the weights beside it are meant without it, copy them elsewhere",
    )


def _check_adapters_within(directory: Path) -> None:
    """Refuse an adapter in a folder of the directory, which transformers never looks at: a training leaves
    its adapters there (`checkpoint-500/`, `default/`), and the weights alone are the model before it."""
    within = sorted(file for name in (ADAPTER, "adapter_model*") for file in directory.glob(f"*/**/{name}"))
    if not within:
        return
    folder = within[0].parent
    raise MismatchError(
        f"{directory} holds an adapter in a folder in it ({within[0].relative_to(directory)}), which would "
        "be ignored",
        allowed="whole weights, in which an adapter is merged",
        do=f"merge it: {MERGE.replace('DIR', repr(str(folder)))}; where the weights are meant without it, "
        f"move {folder.name!r} elsewhere",
    )
