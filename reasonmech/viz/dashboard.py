"""Dashboard: a page per feature and a searchable index, offline; in a notebook the same, inline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import NoneType
from typing import final

import pandas as pd
from markupsafe import Markup

from reasonmech.arguments import check_type, describe
from reasonmech.door import checked
from reasonmech.errors import ArgumentError, DataError, UnknownNameError
from reasonmech.files import new_directory, write_text
from reasonmech.frames import rows_where
from reasonmech.hosts import Host
from reasonmech.interventions import Features
from reasonmech.labels import Labels
from reasonmech.locate.feature_summary.facts import DisplayOptions, FeatureFacts, feature_facts
from reasonmech.ranges import Count
from reasonmech.rollout import Trace
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.capture import capture
from reasonmech.viz.blocks import draw_blocks, join_columns, write_share
from reasonmech.viz.findings import Findings, check_findings
from reasonmech.viz.pages import fill_in


@checked
@final
@dataclass(frozen=True, eq=False)
class Dashboard:
    """Features of one coder on the texts of one host. Displayed in a notebook; `save` writes it as pages.

    Attributes:
        facts: one per feature, in the order asked for.
    """

    facts: tuple[FeatureFacts, ...]
    coder_name: str
    host_name: str
    n_texts: int
    findings: Findings

    @checked
    def page(self, feature: Count) -> str:
        """One feature's page: everything in one file. Raises UnknownNameError, listing the features shown."""
        return _page(f"feature {feature}", self._feature(self._facts_of(feature), index=False))

    @checked
    def save(self, out: str | Path) -> Path:
        """Write a new directory: `index.html` with a search field, and `feature-<i>.html` for each feature.

        Raises:
            OutputError: it exists, or cannot be written.
        """
        out = Path(out)
        with new_directory(out) as partial:
            for facts in self.facts:
                body = self._feature(facts, index=True)
                write_text(partial / f"feature-{facts.feature}.html", _page(f"feature {facts.feature}", body))
            index = _page(
                f"features of {self.coder_name}", self._index(search=True), js=Markup(_asset("search.js"))
            )
            write_text(partial / "index.html", index)
        return out

    def _repr_html_(self) -> str:
        folded = Markup("").join(
            Markup("<details><summary>feature {}</summary>{}</details>").format(
                f.feature, self._feature(f, index=False)
            )
            for f in self.facts
        )
        style = Markup(_asset("dashboard.css"))
        return str(
            Markup('<div class="rm-dash"><style>{}</style>{}{}</div>').format(
                style, self._index(search=False), folded
            )
        )

    def _facts_of(self, feature: int) -> FeatureFacts:
        for facts in self.facts:
            if facts.feature == feature:
                return facts
        raise UnknownNameError(
            "feature of this dashboard", str(feature), [str(f.feature) for f in self.facts]
        )

    def _feature(self, facts: FeatureFacts, *, index: bool) -> Markup:
        linked = {f.feature for f in self.facts} if index else set()
        table, verdicts, doses, claims = self.findings
        frames = {
            "claims": claims,
            "scores": None if table is None else table.frame,
            "verdicts": verdicts,
            "doses": doses,
        }
        findings = {
            name: frame if frame is None else _rows(frame, facts.feature) for name, frame in frames.items()
        }
        blocks = draw_blocks(facts, linked=linked, findings=findings)
        return _render(
            "feature.html.j2", self._heading() | {"facts": facts, "blocks": blocks, "index": index}
        )

    def _index(self, *, search: bool) -> Markup:
        rows, judgements = [], self._judgements()
        for facts in self.facts:
            promoted = rows_where(facts.lens, facts.lens["side"] == "promoted")["token"].head(5)
            cells = [
                f"{100 * facts.rate:.3g}\u00a0%",
                f"{facts.mean_active:.3g}",
                f"{facts.peak:.3g}",
                _name_busiest_kind(facts),
                " ".join(map(str, promoted)),
            ]
            for frame, subject, verdict in judgements:
                cells.append(join_columns(_rows(frame, facts.feature), subject, verdict))
            rows.append({"feature": facts.feature, "href": f"feature-{facts.feature}.html", "cells": cells})
        headings = ["feature", "fires on", "mean", "largest", "most often in", "promotes"]
        headings += [subject + "s" for _, subject, _ in judgements]
        return _render(
            "index.html.j2", self._heading() | {"rows": rows, "headings": headings, "search": search}
        )

    def _judgements(self) -> list[tuple[pd.DataFrame, str, str]]:
        """What was judged of the features: a frame, its column of subjects, and its column of verdicts."""
        claims, verdicts = self.findings.claims, self.findings.verdicts
        judgements = [] if claims is None else [(claims, "claim", "verdict")]
        return judgements if verdicts is None else [*judgements, (verdicts, "attempt", "outcome")]

    def _heading(self) -> dict[str, object]:
        return {"coder": self.coder_name, "host": self.host_name, "n_texts": self.n_texts}

    def __repr__(self) -> str:
        return f"Dashboard({len(self.facts)} features of {self.coder_name!r} on {self.n_texts} texts)"


def dashboard(
    features: Features,
    host: Host,
    *,
    traces: Sequence[Trace],
    acts: Activations | None = None,
    labels: Sequence[Labels] = (),
    findings: Findings | None = None,
) -> Dashboard:
    """What features do in some texts: examples, onset profiles, logit lens, rates by kind, neighbours.

    >>> features = select(table, 8, coder=coder)
    >>> dashboard(features, pair.base, traces=traces, labels=[label(traces, "backtrack")])

    Args:
        traces: texts, cut into sentences.
        acts: what `capture(host, rollouts of the traces, [features.at])` gave, in memory or a store;
            None: captured now, into memory.
        labels: opportunities of behaviours, around which the features are profiled.
        findings: scores, verdicts and doses to print on the pages.

    Raises:
        ArgumentError: rollouts in place of traces, labels in place of a list of them, and the like.
        MismatchError: coder, activations and host do not belong together.
        DataError: no trace; activations or labels of other texts; a table without its columns.
    """
    findings = Findings() if findings is None else findings
    _check_features(features)
    _check_host(host)
    traces = _as_traces(traces)
    check_type(acts, (Activations, NoneType), name="acts", allowed="Activations", do="rm.capture(host, ...)")
    _check_labels(labels)
    check_findings(findings)
    if acts is None:
        acts = capture(host, [trace.rollout for trace in traces], [features.at])
    facts = feature_facts(features, host, traces=traces, acts=acts, labels=labels, display=DisplayOptions())
    return Dashboard(tuple(facts), features.coder.name, host.name, len(traces), findings)


def _check_host(host: Host) -> None:
    do = "rm.dashboard(features, host, traces=traces)"
    check_type(host, Host, name="host", allowed="one model (of a pair: pair.base)", do=do)


def _check_features(features: Features) -> None:
    check_type(
        features,
        Features,
        name="features",
        allowed="rm.Features: indices and the coder that they belong to",
        do="rm.dashboard(features, host, traces=traces) with features=rm.Features(coder, (3, 11)), "
        "or rm.select(table, 8, coder=coder)",
    )


def _as_traces(traces: Sequence[Trace]) -> Sequence[Trace]:
    """Rollouts in place of traces are what a notebook mixes up; one trace is one."""
    if isinstance(traces, Trace):
        return [traces]
    wrong = f"traces is {describe(traces)}"
    if isinstance(traces, Sequence) and not isinstance(traces, str):
        if not traces:
            raise DataError("no trace to show features on", do="give traces: parse(rollouts)")
        others = [i for i, trace in enumerate(traces) if not isinstance(trace, Trace)]
        if not others:
            return traces
        wrong = f"traces[{others[0]}] is {describe(traces[others[0]])}"
    raise ArgumentError(
        wrong, allowed="traces: rollouts that were cut into sentences", do="give traces: rm.parse(rollouts)"
    )


def _check_labels(labels: Sequence[Labels]) -> None:
    allowed, do = "a list with the labels of each behaviour", "give labels=[labels]"
    if isinstance(labels, str | Labels) or not isinstance(labels, Sequence):
        raise ArgumentError(f"labels is {describe(labels)}", allowed=allowed, do=do)
    for i, part in enumerate(labels):
        check_type(part, Labels, name=f"labels[{i}]", allowed=allowed, do=do)


def _rows(frame: pd.DataFrame, feature: int) -> pd.DataFrame:
    return rows_where(frame, frame["feature"] == feature)


def _name_busiest_kind(facts: FeatureFacts) -> str:
    """Kind of sentence on whose tokens it fires most often for certain: by the lower end of the interval."""
    if facts.peak == 0:
        return "environment only" if len(facts.examples) else "never fires"
    best = facts.kinds.sort_values(by=["low", "rate"], ascending=False, na_position="last").iloc[0]
    return f"{best['kind']}, {write_share(best['rate'], best['low'], best['high'])}"


def _page(title: str, body: Markup, *, js: Markup | None = None) -> str:
    return str(
        _render(
            "page.html.j2", {"title": title, "body": body, "css": Markup(_asset("dashboard.css")), "js": js}
        )
    )


def _render(template: str, values: Mapping[str, object]) -> Markup:
    return fill_in(_asset(template), values)


def _asset(name: str) -> str:
    return (files("reasonmech.viz") / "assets" / name).read_text(encoding="utf-8")
