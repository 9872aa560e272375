"""Prompt: how problems are put to a model: a template, a chat, examples before it, a forced beginning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field, model_validator
from transformers import PreTrainedTokenizerBase

from reasonmech.errors import DataError
from reasonmech.hosts.chat import render_chat
from reasonmech.hosts.tags import name_tags
from reasonmech.hosts.vocabulary import decode, encode
from reasonmech.problem import Problem
from reasonmech.settings import Settings

QUESTION: Final = "question"  # of a problem's data, where a task keeps it apart from its own prompt
BEGUN: Final = "__begun__"  # of a problem whose prompt ends with the beginning of an answer: that text
_FIELD: Final = re.compile(r"\{\{|\}\}|\{([A-Za-z_]\w*)\}")
_OF_A_CHAT: Final = ("system", "enable_thinking", "chat_arguments")
_OF_A_TEXT: Final = ("before_answer", "between")
Text = Annotated[str, Field(min_length=1)]


class Shot(Settings):
    """A question with its answer, to be read before the problem."""

    question: Text = Field(
        description="what stands in the template where the problem's question or prompt does"
    )
    answer: Text = Field(description="what a model is to answer")


class Prompt(Settings):
    """How problems are put to a model, as text that its tokenizer reads once and whole.

    The plain one, `Prompt()`, is the task's own prompt, as it stands. A host carries its prompt
    (`host.with_prompt(...)`), a pair one per role: whatever either model writes, its sibling reads the same
    tokens of the answer behind a prompt of its own.
    """

    template: Text = Field(
        default="{prompt}",
        description="text of one problem: {prompt} is the task's own prompt, {question} the bare question "
        "where the task keeps it apart, any other {name} a field of the problem's data; {{ is a brace",
    )
    examples: tuple[Shot, ...] = Field(
        default=(), description="question and answer pairs in front; earlier turns of a chat"
    )
    before_answer: str = Field(
        default=" ", description="what stands between an example's template and its answer"
    )
    between: Text = Field(default="\n\n", description="what stands between examples")
    chat: bool = Field(default=False, description="whether the model's own chat template is put around it")
    system: str = Field(default="", description="system message of a chat")
    enable_thinking: bool | None = Field(
        default=None,
        description="argument of that name for the chat template; without it the template's default",
    )
    chat_arguments: Mapping[str, bool | int | str] = Field(
        default={}, description="further arguments for the chat template, such as date_string"
    )
    prefix: str = Field(default="", description="what the answer is forced to begin with, such as <think>")

    @model_validator(mode="after")
    def _check(self) -> Prompt:
        others = [name for name in (_OF_A_TEXT if self.chat else _OF_A_CHAT) if name in self.model_fields_set]
        if others:
            which = (
                "has none: its template puts examples in turns" if self.chat else "are of a chat: chat: true"
            )
            raise ValueError(f"{', '.join(others)} {which}")
        if not {"prompt", QUESTION} & set(self.fields):
            raise ValueError(f"template {self.template!r} has neither {{prompt}} nor {{question}}")
        if self.examples and (beyond := sorted(set(self.fields) - {"prompt", QUESTION})):
            raise ValueError(f"examples have no {beyond[0]}, which the template asks for")
        return self

    @property
    def fields(self) -> tuple[str, ...]:
        """Names in the template, each once."""
        return tuple(dict.fromkeys(name for name in _FIELD.findall(self.template) if name))

    @property
    def is_plain(self) -> bool:
        """Whether it is the task's own prompt, as it stands."""
        return self == PLAIN

    def text(self, problem: Problem, tokenizer: PreTrainedTokenizerBase) -> str:
        """What the model reads of a problem, the forced beginning of its answer included.

        Raises:
            DataError: the problem lacks a field of the template; its chat template leaves a part of it out.
            MismatchError: the tokenizer has no chat template, or one that drops or ignores what is body.
        """
        if self.is_plain:
            return problem.prompt
        body, begun = self._fill(problem), str(problem.data.get(BEGUN, ""))
        examples = [(self._fill(_problem_of(example)), example.answer) for example in self.examples]
        if self.chat:
            turns = [(role, text) for pair in examples for role, text in zip(_ROLES, pair, strict=True)]
            if self.system:
                turns = [("system", self.system), *turns]
            text = render_chat(tokenizer, [*turns, ("user", body)], self._arguments())
            if self.prefix.strip() and text.rstrip().endswith(self.prefix.strip()):
                raise DataError(
                    f"the chat template ends with {self.prefix!r} already",
                    allowed="a prefix that goes on behind the template's own",
                    do="leave prefix out",
                )
            return text + self.prefix + begun
        shots = [f"{question}{self.before_answer}{answer}" for question, answer in examples]
        return self.between.join([*shots, body]) + self.prefix + begun

    def show(self, tokenizer: PreTrainedTokenizerBase, problem: Problem | None = None) -> str:
        """The text of a problem as the model gets it, special tokens (a BOS) included, and, in lines below,
        the tags in it that are no single token here, with their tokens.

        Raises what `text` does.
        """
        shown = problem or Problem("shown", "{prompt}", "", {name: f"{{{name}}}" for name in self.fields})
        text = self.text(shown, tokenizer)
        return "\n".join([decode(tokenizer, encode(tokenizer, text)), *name_tags(tokenizer, text)])

    def check(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Raise MismatchError, DataError where a tokenizer cannot read problems so."""
        self.text(Problem("checked", "a question", "", dict.fromkeys(self.fields, "a question")), tokenizer)

    def identity(self, tokenizer: PreTrainedTokenizerBase) -> str:
        """What decides the text of every problem, in JSON; empty for the plain prompt."""
        if self.is_plain:
            return ""
        template = str(tokenizer.chat_template) if self.chat else ""
        return f"{self.model_dump_json(exclude_defaults=True)}\0{template}"

    def __repr__(self) -> str:
        parts = [f"template={self.template!r}"]
        parts += [f"{len(self.examples)} examples"] if self.examples else []
        parts += ["chat"] if self.chat else []
        parts += [
            f"{name}={vars(self)[name]!r}"
            for name in ("system", "enable_thinking", "prefix")
            if vars(self)[name]
        ]
        return f"Prompt({', '.join(parts)})"

    def __str__(self) -> str:
        return repr(self)

    def _fill(self, problem: Problem) -> str:
        task_text = problem.prompt.removesuffix(str(problem.data.get(BEGUN, "")))
        values = {QUESTION: task_text, **problem.data, "prompt": task_text}

        def value(match: re.Match[str]) -> str:
            name = match.group(1)
            if name is None:
                return match.group()[0]
            if name not in values:
                raise DataError(
                    f"problem {problem.id!r} has no {name}, which the template {self.template!r} asks for",
                    allowed=", ".join(sorted(values)),
                    do="name a field that the task's problems have",
                )
            return str(values[name])

        return _FIELD.sub(value, self.template)

    def _arguments(self) -> dict[str, Any]:
        thinking = {} if self.enable_thinking is None else {"enable_thinking": self.enable_thinking}
        return thinking | dict(self.chat_arguments)


PLAIN: Final = Prompt()
_ROLES: Final = ("user", "assistant")


def with_beginning(problem: Problem, name: str, begun: str, answer: str) -> Problem:
    """A problem whose answer has begun: its prompt goes on with that, whatever a host puts around it."""
    return Problem(name, problem.prompt + begun, answer, {**problem.data, BEGUN: begun})


def _problem_of(example: Shot) -> Problem:
    return Problem("example", example.question, example.answer)


def reworded(problem: Problem, around: str, place: str) -> Problem:
    """A problem whose prompt, and bare question where it has one, stand inside another text.

    Args:
        around: that text, with `place` where they go.
    """
    data = dict(problem.data)
    if QUESTION in data:
        data[QUESTION] = around.replace(place, str(data[QUESTION]))
    return Problem(problem.id, around.replace(place, problem.prompt), problem.answer, data)
