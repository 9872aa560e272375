"""What the written groups do to every onset beside controls matched in KL, in words and as tables."""

from __future__ import annotations

from markupsafe import Markup

from reasonmech.behaviours import defined
from reasonmech.experiments import Run
from reasonmech.report.html import Column, folded, heading, number, percent, table, text, with_interval

LEAD = (
    "The same groups at the dose that fitting problems chose, on the onset of every kind of sentence. Beside "
    "each: the unembedding row of its onset word, and features that are as active at the same moments, both "
    "changing what is written next as much (KL, nats; a shortfall beyond 10 % is not matched). Onset-word "
    "button: more than half of the effect goes straight from the decoder to the unembedding, and the row of "
    "the word does as much. Not selective: something else moves by more than 5 points."
)
EVERY = ("behaviour", "host", "verb", "arm", "place", "onset", "among", "untouched", "value", "low", "high")


def selectivity_blocks(run: Run) -> list[Markup]:
    """Readings, and every onset; nothing where they were not measured."""
    if run.selectivity.empty:
        return []
    frame = run.selectivity
    shares = zip(frame["direct_share"], frame["direct_share.low"], frame["direct_share.high"], strict=True)
    ends = zip(frame["elsewhere"], frame["elsewhere.low"], frame["elsewhere.high"], strict=True)
    frame = frame.assign(
        direct=[with_interval(*share) for share in shares],
        away=[with_interval(*change) for change in ends],
    )
    columns = (
        Column("behaviour", "behaviour", defined),
        Column("host", "host"),
        Column("verb", "verb"),
        Column("arm", "arm"),
        Column("kl", "KL", number),
        Column("kl_shortfall", "short of the group's", percent),
        Column("untouched", "P(onset), untouched", percent),
        Column("value", "written", percent),
        Column("away", "change elsewhere", text),
        Column("direct", "direct share", text),
        Column("reading", "reading"),
        Column("also", "what else moves"),
    )
    blocks = [heading("A behaviour, or a word?"), Markup("<p>{}</p>").format(LEAD), table(frame, columns)]
    if not run.matched_onsets.empty:
        every = [Column(key, key, number if key in EVERY[-4:] else None) for key in EVERY]
        blocks.append(folded("Every onset, at opportunities and elsewhere", table(run.matched_onsets, every)))
    return blocks


def readings(run: Run) -> tuple[str, ...]:
    """One sentence for each group that is a button or not selective."""
    if run.selectivity.empty:
        return ()
    rows = run.selectivity.loc[run.selectivity["reading"] != ""].to_dict("records")
    sentences = []
    for row in rows:
        what = f"The group that is {VERBS[row['verb']]} for {row['behaviour']} in the {row['host']} model"
        if row["reading"] == "onset-word button":
            sentences.append(f"{what} is an onset-word button: the unembedding row of its word does as much.")
        elif row["reading"] == "not selective":
            sentences.append(f"{what} is not selective: it also moves {row['also']}.")
    return tuple(sentences)


VERBS = {"clamp": "clamped", "ablate": "ablated"}
