"""The parts of a report, each from the files of a run; a part whose data the run lacks is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

import pandas as pd
import plotly.graph_objects as go
import yaml
from markupsafe import Markup
from pandas.api.types import is_numeric_dtype

from reasonmech.experiments import Run
from reasonmech.locate.feature_summary.tokens import TOKEN_COLUMNS
from reasonmech.report.detectors import SEARCHES, best_detectors, drawn, side_by_side
from reasonmech.report.frames import arms, doses, effects, from_zero, recovery_frame
from reasonmech.report.html import (
    Column,
    Figure,
    Row,
    Section,
    folded,
    heading,
    interval,
    number,
    percent,
    table,
    text,
)
from reasonmech.report.preservation import kept_blocks
from reasonmech.viz.figures import dose_curves, feature_table, recovery_by_arm
from reasonmech.viz.traces import traces_html

DOSE_AXIS: Final = "dose, × mean activation"
DOSE_CAPTION: Final = (
    "Probability that the base begins the behaviour next, teacher-forced on its own text, when the located "
    "features "
    "are clamped there. Grey: random features of the same coder, matched in firing rate and in strength."
)
RECEIPT: Final = (
    ("condition", "condition"),
    ("site", "site"),
    ("n_tokens", "tokens"),
    ("n_masked", "masked"),
    ("n_fired", "fired"),
    ("mean_relative", "mean change"),
    ("max_relative", "largest change"),
    ("reread", "re-read"),
    ("kl", "KL, nats"),
)
EVERY_DOSE: Final = ("behaviour", "host", "verb", "place", "arm", "dose", "value", "low", "high", "kl")


def recovery_section(run: Run) -> Section | None:
    """Accuracy and recovered share of every arm, beside its control."""
    frame = arms(run)
    if frame.empty:
        return None
    shown = frame.assign(
        accuracy_interval=[
            interval(*pair) for pair in zip(frame["accuracy.low"], frame["accuracy.high"], strict=True)
        ],
        recovery_interval=[
            interval(*pair) for pair in zip(frame["recovery.low"], frame["recovery.high"], strict=True)
        ],
        beside=[
            f"control for {c}" if c else w for c, w in zip(frame.control_for, frame.no_control, strict=True)
        ],
    )
    columns = (
        Column("condition", "arm"),
        Column("accuracy", "accuracy", percent),
        Column("accuracy_interval", "95 % interval", text),
        Column("recovery", "gap recovered", percent),
        Column("recovery_interval", "95 % interval", text),
        Column("percent_steered", "tokens steered", percent),
        Column("mean_length", "tokens", number),
        Column("beside", "role"),
    )
    lead = (
        "Every arm answers the same problems with the same decoding. Recovery is signed and never clipped: "
        "(arm - base) / (thinking - base), with a paired bootstrap interval over problems. A control must "
        "fail."
    )
    figure = Figure(
        "recovery",
        recovery_by_arm(recovery_frame(run)),
        "Share of the base-to-thinking gap that each arm recovers.",
    )
    return Section("recovery-by-arm", "Recovery by arm", lead, [figure], [table(shown, columns)])


def dose_section(run: Run) -> Section | None:
    """What clamping and ablating the located features does, beside matched random features."""
    frame = doses(run)
    if frame.empty:
        return None
    curves = frame.loc[(frame.verb == "clamp") & (frame.host == "base")]
    figures = (
        [Figure("doses-figure", _dosed(dose_curves(from_zero(frame, curves))), DOSE_CAPTION)]
        if len(curves)
        else []
    )
    columns = (
        Column("behaviour", "behaviour"),
        Column("host", "host"),
        Column("verb", "verb"),
        Column("place", "where"),
        Column("untouched", "untouched", percent),
        Column("dose", "dose", number),
        Column("located", "located", percent),
        Column("interval", "95 % interval", text),
        Column("random", "random, matched", text),
        Column("kl", "KL, nats", number),
    )
    every = [Column(key, key, number if is_numeric_dtype(frame[key]) else None) for key in EVERY_DOSE]
    lead = (
        "A cause, not a correlation: the located features are written, and the behaviour moves or does not. "
        "KL is between the next-token distributions with and without the intervention, in nats a token."
    )
    blocks = [table(effects(run), columns), folded("Every dose and every control", table(frame, every))]
    return Section("doses", "What the features do", lead, figures, blocks)


def feature_section(run: Run) -> Section | None:
    """The located features of each behaviour beside the baselines that need no coder."""
    frame = run.features
    if frame.empty:
        return None
    columns = (
        Column("detector", "detector"),
        Column("place", "in"),
        Column("rate", "firing rate", percent),
        *(Column(key, heading, text) for key, heading in SEARCHES.items()),
    )
    figures, blocks = [], []
    for i, (behaviour, part) in enumerate(frame.groupby("behaviour", sort=False)):
        best = best_detectors(part)
        figures += [Figure(f"features-{i}", feature_table(rows), caption) for rows, caption in drawn(best)]
        blocks += [heading(str(behaviour)), table(side_by_side(best), columns, _row_class)]
    blocks += [*_compared(run), *kept_blocks(run)]
    lead = (
        "A detector must tell, from tokens strictly before it, whether a behaviour is about to begin "
        "(anticipates), or "
        "whether a token lies inside it (recognises). Beside every feature stand the difference of means, a "
        "logistic "
        "probe, and the ceiling: the base model's own next-token probability."
    )
    return Section("features", "Features of the base model", lead, figures, blocks)


def _compared(run: Run) -> list[Markup]:
    """Features beside what needs no coder, at equal tuning, one table a behaviour."""
    columns = (
        Column("detector", "detector"),
        Column("value", "held-out AUROC", number),
        Column("low", "low", number),
        Column("high", "high", number),
        Column("ahead", "ahead of the group by", number),
        Column("chosen", "chosen setting", number),
    )
    blocks = []
    for behaviour, rows in run.detectors.groupby("behaviour", sort=False) if len(run.detectors) else ():
        blocks += [heading(f"{behaviour}: is the coder worth having?"), table(rows, columns)]
        blocks.append(Markup("<p>{}</p>").format(rows["headline"].iloc[0]))
    return blocks


def _dosed(figure: go.Figure) -> go.Figure:
    """The doses of a run are multiples of each feature's own mean activation, so that random features
    compare."""
    return figure.for_each_xaxis(lambda axis: axis.title.text and axis.update(title=DOSE_AXIS))


def _row_class(row: Row) -> str:
    kind = "feature" if row["kind"] == "feature" else "baseline"
    return f"{kind} selected" if row["selected"] else kind


def trace_section(run: Run) -> Section | None:
    """The same problem answered by several arms, word by word."""
    frame = run.traces
    if frame.empty:
        return None
    features = [str(column) for column in frame if column not in TOKEN_COLUMNS]
    lead = (
        "The same problems, answered by each model."
        " What shades a word is the activation of a located feature there."
    )
    return Section("traces", "Traces", lead, (), [Markup(traces_html(frame, features))])


def receipt_section(run: Run) -> Section | None:
    """What each intervention really did, as measured while it ran."""
    receipts = run.record["receipts"]
    if not receipts:
        return None
    rows = [{"condition": name, **line} for name, lines in receipts.items() for line in lines]
    frame = pd.DataFrame(rows)
    columns = [
        Column(*named, number if is_numeric_dtype(frame[named[0]]) else None)
        for named in RECEIPT
        if named[0] in frame
    ]
    lead = (
        "What each intervention really did: tokens seen, named by its mask, and changed where its gate was "
        "open; the "
        "size of the change against the stream it changed; what re-reading the features gave. One row per "
        "intervention."
    )
    return Section(
        "receipts", "Receipts", lead, (), [folded(f"All {len(frame)} receipts", table(frame, columns))]
    )


def provenance_section(run: Run) -> Section:
    """What one would need to doubt the run."""
    record = run.record
    facts = [
        ("run", record["run"]),
        (
            "version",
            f"reasonmech {record['packages']['reasonmech']}, commit "
            f"{record['git']['commit'] or 'of no checkout'}",
        ),
        (
            "checkout",
            {True: "with uncommitted changes", False: "clean", None: "installed package"}[
                record["git"]["dirty"]
            ],
        ),
        ("command", " ".join(record["command"])),
        ("pair", record["pair"]["name"]),
        ("base weights", record["pair"]["base"]["weights_sha256"]),
        ("thinking weights", record["pair"]["thinking"]["weights_sha256"]),
        (
            "machine",
            f"{record['machine']['platform']}, {record['machine']['device']}, Python "
            f"{record['machine']['python']}",
        ),
        ("started", record["started"]),
        ("finished", record["finished"]),
        ("computing time", f"{record['seconds']:.0f} s"),
    ]
    frame = pd.DataFrame(facts, columns=["what", "value"])
    without = {key: value for key, value in record.items() if key not in ("conditions", "receipts")}
    blocks = [
        table(frame, (Column("what", ""), Column("value", ""))),
        folded("Configuration, every default filled in", yaml.safe_dump(run.config, sort_keys=False)),
        folded("Conditions and their fingerprints", json.dumps(record["conditions"], indent=1)),
        folded("Record", json.dumps(without, indent=1)),
    ]
    return Section("provenance", "Provenance", "Enough to run it again, and to doubt it.", (), blocks)


def note_section(run: Run) -> Section | None:
    """What could not be measured, and why."""
    notes = run.record["notes"]
    if not notes:
        return None
    lead = "Nothing is left out in silence: what was asked for and could not be measured, with the reason."
    frame = pd.DataFrame({"note": notes})
    return Section("notes", "Not measured", lead, (), [table(frame, (Column("note", ""),))])


SECTIONS: Final[tuple[Callable[[Run], Section | None], ...]] = (
    recovery_section,
    dose_section,
    feature_section,
    trace_section,
    receipt_section,
    note_section,
    provenance_section,
)


def sections(run: Run) -> list[Section]:
    """All parts that this run has data for, in reading order."""
    built = [build(run) for build in SECTIONS]
    return [section for section in built if section is not None]
