"""Stage `pairwise`: statistics of the pair on the evaluation problems, and the section that prints them."""

from pathlib import Path

import pandas as pd
import pytest

from reasonmech.errors import ConfigError, UnknownNameError
from reasonmech.experiments import Run, StageContext
from reasonmech.experiments.stages import build_stage
from reasonmech.pairwise import COLUMNS, PairRollouts, divergence
from reasonmech.problem import Problem, ProblemSet
from reasonmech.report.sections.pairwise import pairwise_section
from reasonmech.runtime import Decode, generate
from reasonmech.testing import tiny_pair

PROBLEMS = ProblemSet([Problem(f"p{i}", f"w{i} w{i + 1}", "w3") for i in range(4)], task="chain")


def test_the_stage_writes_what_the_measure_gives_and_the_report_prints_it(tmp_path: Path) -> None:
    pair, folder, out = tiny_pair(change=0.3), tmp_path / "rollouts", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    written = {
        side: generate(host, PROBLEMS, decode=Decode(max_new_tokens=6), progress=False)
        for side, host in (("base", pair.base), ("thinking", pair.thinking))
    }
    for side, rollouts in written.items():
        rollouts.save(folder / f"study_{side}.jsonl")
    context = StageContext(pair, PROBLEMS, Decode(), 0, out, False, {"rollouts": folder})
    build_stage({"kind": "pairwise", "measures": [{"kind": "divergence", "threshold": 0.2}]}).run(context)
    run = Run(context.open_run_folder())
    expected = divergence(pair, PairRollouts(**written), threshold=0.2)
    pd.testing.assert_frame_equal(run.pairwise, expected)
    assert tuple(run.pairwise.columns) == COLUMNS
    section = pairwise_section(run)
    assert section is not None and "base and base at T" in str(section.blocks)


def test_a_run_without_the_stage_has_no_such_section(tmp_path: Path) -> None:
    assert pairwise_section(Run(tmp_path)) is None


@pytest.mark.parametrize(
    ("measures", "error"),
    [(["divergense"], UnknownNameError), ([{"kind": "divergence", "treshold": 1}], UnknownNameError)],
)
def test_unknown_measures_and_settings_are_refused_before_the_run(
    measures: list[object], error: type[ConfigError]
) -> None:
    with pytest.raises(error):
        build_stage({"kind": "pairwise", "measures": measures})
