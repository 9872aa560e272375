"""Texts that models wrote, word by word: what the environment wrote, slips, onsets, steering, feature activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup
from torch import Tensor

from reasonmech.experiments import Run


def trace_blocks(run: Run) -> list[Markup]:
    """The traces that carry activations, with the buttons that choose which feature colours the words."""
    shown = [row for row in run.generations if row["activations"]]
    if not shown:
        return []
    tensors = run.tensors()
    channels: list[str] = shown[0]["channels"]
    peak = [max(float(tensors[row["activations"]][:, c].max()) for row in shown) or 1.0 for c in range(len(channels))]
    buttons = Markup("").join(
        Markup('<button type="button" data-channel="{}" aria-pressed="false">{}</button>').format(i, name)
        for i, name in enumerate([*channels])
    )
    none = Markup('<button type="button" data-channel="-1" aria-pressed="false">no colour</button>')
    controls = Markup('<div class="controls"><span>Colour by</span>{}{}</div>').format(buttons, none)
    return [controls, _LEGEND, *(_trace(row, tensors[row["activations"]], channels, peak) for row in shown)]


_LEGEND = Markup(
    '<div class="legend"><span><span class="t onset">word</span> a behaviour begins here</span>'
    '<span><span class="t slip">word</span> slip: the environment wrote a wrong value</span>'
    '<span><span class="t environment">word</span> other words of the environment</span>'
    '<span><span class="t steered">word</span> an intervention fired before this word</span>'
    "<span>hover or tab to a word for its activations</span></div>"
)


def _trace(row: Mapping[str, Any], activations: Tensor, channels: Sequence[str], peak: Sequence[float]) -> Markup:
    onsets = {onset["offset"]: onset["kind"] for onset in row["onsets"]}
    spans = [(span["start"], span["stop"], span["kind"]) for span in row["spans"]]
    words = []
    for position, word in enumerate(row["tokens"]):
        offset = position - row["n_prompt"]
        strengths = [float(value) for value in activations[position]]
        kind = next((kind for start, stop, kind in spans if start <= offset < stop), "")
        classes, said = _marks(row, offset, onsets.get(offset, ""))
        lines = [f"{name}: {value:.3g}" for name, value in zip(channels, strengths, strict=True)]
        tip = "\n".join([repr(word), *([f"in: {kind}"] if kind else []), *said, *lines])
        scaled = " ".join(f"{max(0.0, value / top):.3f}" for value, top in zip(strengths, peak, strict=True))
        words.append(
            Markup('<span class="{}" tabindex="0" data-a="{}" data-tip="{}">{}</span>').format(
                " ".join(["t", *classes]), scaled, tip, word
            )
        )
    verdict = Markup('<span class="verdict {}">{}</span>').format(
        "right" if row["correct"] else "wrong", "right answer" if row["correct"] else f"wrong (ended by {row['stop']})"
    )
    head = Markup("<h4>{} <code>{}</code> {}</h4>").format(row["condition"], row["problem"], verdict)
    return Markup('<article class="trace">{}<div class="words">{}</div></article>').format(
        head, Markup(" ").join(words)
    )


def _marks(row: Mapping[str, Any], offset: int, onset: str) -> tuple[list[str], list[str]]:
    """CSS classes of one word and what its tooltip says about them."""
    if offset < 0:
        return ["prompt"], ["prompt"]
    classes, said = [], []
    if offset in row["slips"]:
        classes.append("slip")
        said.append("slip, written by the environment")
    elif row["by_environment"][offset]:
        classes.append("environment")
        said.append("written by the environment")
    if onset:
        classes.append("onset")
        said.append(f"onset of {onset}")
    if row["steered"][offset]:
        classes.append("steered")
        said.append("an intervention fired before it")
    return classes, said
