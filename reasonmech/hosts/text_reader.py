"""TextReader: the side of a host that turns texts into its tokens, and tokens into text."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from reasonmech.door import checked
from reasonmech.errors import DataError
from reasonmech.hosts.characters import token_name
from reasonmech.hosts.prompt import Prompt
from reasonmech.hosts.vocabulary import decode, encode, encode_texts, quoted
from reasonmech.problem import Problem
from reasonmech.ranges import Count, Id


class TextReader(ABC):
    """A tokenizer, the rows and positions that a model has for its tokens, and how problems are put to it.

    Attributes:
        name: how results name the model.
        tokenizer: encodes prompts and decodes what was generated.
        prompt: how problems are put to it.
    """

    name: str
    tokenizer: PreTrainedTokenizerBase
    prompt: Prompt

    @property
    @abstractmethod
    def vocab_size(self) -> int: ...

    @property
    @abstractmethod
    def n_positions(self) -> int: ...

    @property
    @abstractmethod
    def length_note(self) -> str: ...

    def prompt_ids(self, problems: Sequence[Problem]) -> list[list[int]]:
        """Tokens of each problem's text, as its prompt puts it to this model.

        Raises:
            DataError: a token of a text has no row in the model; a problem lacks what the template asks for.
            MismatchError: see `Prompt.text`.
        """
        texts = [self.prompt.text(problem, self.tokenizer) for problem in problems]
        read = encode_texts(self.tokenizer, texts)
        for text, ids in zip(texts, read, strict=True):
            self.check_ids(ids, quoted(text))
        return read

    @checked
    def check_length(self, n_tokens: Count, text: str) -> None:
        """Raise DataError where a text has more tokens than the model has positions."""
        if n_tokens > self.n_positions:
            raise DataError(
                f"{text} has {n_tokens} tokens",
                allowed=f"at most {self.n_positions}, the positions of {self.name!r}{self.length_note}",
                do="cut it, or load a model whose configuration allows more",
            )

    @checked
    def encode(self, text: str) -> list[int]:
        """Token ids of a text that goes on: what the tokenizer puts in front, once (a BOS that the text has
        is not doubled, white space in front of it is left out), and no end behind.

        Raises:
            DataError: a token of the text has no row in the model.
        """
        ids = encode(self.tokenizer, text)
        self.check_ids(ids, quoted(text))
        return ids

    @checked
    def check_ids(self, ids: Sequence[int], text: str) -> None:
        """Raise DataError where a text has a token that the model has no row for."""
        beyond = [i for rows in (self.vocab_size,) for i in ids if not 0 <= i < rows]
        if beyond:
            raise DataError(
                f"{text} has token {beyond[0]} ({token_name(self.tokenizer, beyond[0])!r})",
                allowed=f"tokens 0 .. {self.vocab_size - 1}, the rows of {self.name!r}",
                do="leave it out, or load the tokenizer that belongs to this model",
            )

    @checked
    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special tokens included, spacing untouched."""
        return decode(self.tokenizer, ids)

    @checked
    def token_text(self, token: Id) -> str:
        """What one token writes; "[id 130]" for an id that writes nothing, such as one of padding."""
        return token_name(self.tokenizer, token)
