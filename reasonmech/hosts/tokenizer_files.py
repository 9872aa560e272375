"""read_tokenizer: a tokenizer out of a directory, a tokenizer.json or the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from reasonmech.errors import CorruptFileError, MismatchError, UnknownNameError
from reasonmech.hosts.on_demand import locate

TOKENIZER_FILE: Final = "tokenizer.json"
TOKENIZERS: Final = ("a directory with a tokenizer", f"a {TOKENIZER_FILE}", "owner/name on the Hub")


def read_tokenizer(source: PreTrainedTokenizerBase | str | Path, *, name: str) -> PreTrainedTokenizerBase:
    """The tokenizer that was handed over, or that lies somewhere.

    Args:
        name: of the model that it is for.

    Raises:
        UnknownNameError: nothing is at a path. MismatchError: there is no tokenizer, or a file that is none.
        CorruptFileError: its files cannot be read.
    """
    if isinstance(source, PreTrainedTokenizerBase):
        return source
    if not str(source):
        raise MismatchError(f"the model {name!r} does not say where it came from", do="pass tokenizer=")
    local = locate(source)
    if local is None and is_path(source):
        raise UnknownNameError(
            "tokenizer", str(source), TOKENIZERS, do=f"nothing is at {str(source)!r}: look at its path"
        )
    if local is not None and local.is_file() and local.name != TOKENIZER_FILE:
        raise MismatchError(
            f"the tokenizer of {name!r} is to be read from the file {source}",
            allowed=", ".join(TOKENIZERS),
            do=f"give its directory, {str(local.parent)!r}, or the {TOKENIZER_FILE} in it",
        )
    try:
        if local is not None and local.name == TOKENIZER_FILE:
            return PreTrainedTokenizerFast.from_pretrained(local.parent)
        return AutoTokenizer.from_pretrained(str(local or source), trust_remote_code=False)
    except Exception as error:  # of whatever class: a damaged tokenizer.json raises a bare one
        home = None if local is None else local.parent if local.is_file() else local
        files = [] if home is None else sorted(file.name for file in home.glob("*token*"))
        if files:
            raise CorruptFileError(
                f"transformers cannot read the tokenizer of {name!r} in {home} ({', '.join(files)}): "
                f"{type(error).__name__}: {error}",
                allowed="what tokenizer.save_pretrained wrote",
                do="copy or download it again, or pass another as tokenizer=",
            ) from error
        raise MismatchError(
            f"no tokenizer for {name!r} in {source}: {error}", do="pass tokenizer="
        ) from error


def is_path(source: str | Path) -> bool:
    """Whether a text can be no name on the Hub."""
    text = str(source)
    return isinstance(source, Path) or text.startswith(("/", ".", "~")) or text.count("/") > 1
