"""report: one self-contained HTML file from the files of a run."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from types import NoneType

from plotly.offline import get_plotlyjs

from reasonmech.arguments import check_type
from reasonmech.door import checked
from reasonmech.experiments import Run, load_run
from reasonmech.files import save_text
from reasonmech.report.answer import answer
from reasonmech.report.html import script_json
from reasonmech.report.sections import build_sections
from reasonmech.viz.figure_text import without_markup
from reasonmech.viz.pages import Source, fill_in


@checked
def report(run: Run | str | Path, *, out: str | Path | None = None) -> Path:
    """Write the report of a finished run and return its path.

    The file holds its figures, its styles and the plotting library: it opens without a network and asks for
    nothing. Text that a model wrote is escaped. Nothing is computed here: every number is in the run's
    tables.

    Args:
        out: where to write it; without it `report.html` in the run's directory.

    Raises:
        ArgumentError: neither a run nor where one is.
        OutputError: the run is partial or absent, or there is a file at `out`.
        CorruptFileError: a file of the run is damaged.
    """
    check_type(
        run,
        (Run, str, Path),
        name="run",
        allowed="a Run, or the directory of one",
        do='rm.report(rm.run("demo")), or rm.report("runs/demo-1a2b3c4d")',
    )
    check_type(out, (str, Path, NoneType), name="out", allowed="a path", do='rm.report(run, out="page.html")')
    loaded = run if isinstance(run, Run) else load_run(run)
    path = Path(out) if out is not None else loaded.path / "report.html"
    return save_text(path, render(loaded), overwrite=out is None)  # the run's own page is made again


def render(run: Run) -> str:
    """The page as text."""
    parts = build_sections(run)
    figures = {
        f.id: without_markup(json.loads(f.figure.to_json())) for section in parts for f in section.figures
    }
    values = {
        "title": run.record["experiment"],
        "run": run.record["run"],
        "finished": run.record["finished"],
        "question": run.record["question"],
        "answer": answer(run),
        "contents": [(section.id, section.heading) for section in parts],
        "sections": parts,
        "figures_json": script_json(figures),
        "plotly": Source(get_plotlyjs()) if figures else "",
        "css": Source(_asset("report.css")),
        "js": Source(_asset("report.js")),
    }
    return str(fill_in(_asset("report.html.j2"), values))


def _asset(name: str) -> str:
    return (files("reasonmech.report") / "assets" / name).read_text()
