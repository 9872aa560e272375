"""Chat: turns put into a tokenizer's chat template, which is held to keep all of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Final

from jinja2.exceptions import TemplateError
from transformers import PreTrainedTokenizerBase

from reasonmech.errors import MismatchError

_TODAY: Final = "strftime_now"


def render_chat(
    tokenizer: PreTrainedTokenizerBase, turns: Sequence[tuple[str, str]], arguments: Mapping[str, Any]
) -> str:
    """Turns in a tokenizer's own chat template, with what makes the model answer behind them.

    Args:
        turns: role and text of each, the last one the user's.
        arguments: for the template (`enable_thinking`).

    Raises:
        MismatchError: there is no chat template; it refuses a role, leaves out a part of a turn (a system
            message, the thoughts in an example's answer), does not know an argument, or writes today's date.
    """
    name = tokenizer.name_or_path
    template = _template_of(tokenizer)
    if template is None:
        raise MismatchError(
            f"the tokenizer of {name!r} has no chat template",
            allowed="chat: true for models that were trained on chats, and have a chat template",
            do="leave chat out and write the turns into template; or load it with a tokenizer that has one",
        )
    unknown = sorted(key for key in arguments if not re.search(rf"\b{re.escape(key)}\b", template))
    if unknown:
        raise MismatchError(
            f"the chat template of {name!r} does not read {', '.join(unknown)}, which would change nothing",
            allowed="arguments that stand in the template",
            do=f"leave {unknown[0]} out" + ("; see prefix= for thoughts" if "thinking" in unknown[0] else ""),
        )
    messages = [{"role": role, "content": text} for role, text in turns]
    words: Any = tokenizer  # transformers types what a template gives by all that it may be asked for
    try:
        text = str(
            words.apply_chat_template(messages, tokenize=False, add_generation_prompt=True, **arguments)
        )
    except (TemplateError, ValueError, TypeError) as error:
        roles = " and ".join(dict.fromkeys(role for role, _ in turns))
        raise MismatchError(
            f"the chat template of {name!r} refuses {roles}: {error}",
            allowed="turns that the template takes",
            do="put what the system is to say into template, before the question"
            if "system" in roles
            else "look at the template: tokenizer.chat_template",
        ) from error
    _check_kept(name, turns, text)
    _check_no_date(name, template, text)
    return text


def _template_of(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """The template that is used without tools; None where there is none."""
    templates: Any = tokenizer.chat_template
    if isinstance(templates, Mapping):
        templates = templates.get("default")
    return templates or None


def _check_kept(name: str, turns: Sequence[tuple[str, str]], text: str) -> None:
    """Raise MismatchError where a turn does not stand in the text, in the order of the turns."""
    start = 0
    for role, content in turns:
        start = text.find(content.strip(), start)
        if start < 0:
            which = "an example's answer" if role == "assistant" else f"the {role} message"
            raise MismatchError(
                f"the chat template of {name!r} leaves out {which}, or a part of it: {content[:60]!r}",
                allowed="turns that the template keeps as they are",
                do="put it into template, before the question"
                if role == "system"
                else "leave out of the example what the template drops (thoughts), or write the turns into "
                "template without chat",
            )
        start += len(content.strip())


def _check_no_date(name: str, template: str, text: str) -> None:
    """Raise MismatchError where a prompt would be another one tomorrow."""
    today = date.today()
    if _TODAY in template and any(
        today.strftime(form) in text for form in ("%d %b %Y", "%d %B %Y", "%Y-%m-%d")
    ):
        raise MismatchError(
            f"the chat template of {name!r} writes today's date into the prompt",
            allowed="a prompt that is the same tomorrow",
            do="say which date, by the name that the template has for it: chat_arguments: "
            '{date_string: "26 Jul 2024"}',
        )
