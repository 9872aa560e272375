"""verify passes on the weights that a truth was measured on, and on no others."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from reasonmech import cli
from reasonmech.errors import CorruptFileError, UnknownNameError
from reasonmech.hosts import load_pair
from reasonmech.organisms import Effort, recipes
from reasonmech.organisms.record import read_truth, truth_record, write_truth
from reasonmech.organisms.verify import Remeasurement, Verifier, verify
from reasonmech.paths import organism_dir

FEW = Effort(problems=12, samples=1, forced=8, coverage=8, coverage_problems=3, dialled=6)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The base of tiny-when twice on disk, as a pair whose truth was measured on a few problems."""
    directory = tmp_path_factory.mktemp("pairs") / "mine"
    for role in ("base", "thinking"):
        shutil.copytree(organism_dir() / "tiny-when" / "base", directory / role)
    recipe = recipes.get("tiny-aa")
    write_truth(truth_record(recipe, load_pair(directory), effort=FEW, progress=False), directory)
    return directory


@pytest.fixture
def pair(measured: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(measured, tmp_path / "mine"))


def edit(pair: Path, change: Callable[[Any], None]) -> None:
    truth = json.loads((pair / "truth.json").read_text())
    change(truth)
    (pair / "truth.json").write_text(json.dumps(truth))


def perturb(pair: Path, role: str, name: str, factor: float) -> None:
    path = pair / role / "model.safetensors"
    tensors = load_file(path)
    tensors[name] = tensors[name] * factor
    save_file(tensors, path, metadata={"format": "pt"})


def differing(rows: list[Remeasurement]) -> set[str]:
    return {row.quantity for row in rows if not row.agrees}


def test_verify_measures_every_recorded_rate_again_and_agrees(pair: Path) -> None:
    quick = verify(pair, progress=False)
    assert len(quick) == 2 + 1 + 2 + 4 + 2 and differing(quick) == set()
    assert next(row for row in quick if row.quantity == "base, greedy").measured.endswith(
        f"of {FEW.problems} right"
    )
    full = verify(pair, full=True, progress=False)
    assert len(full) > 60 and differing(full) == set()
    assert {row["n"] for row in read_truth(pair)["dial"]} == {FEW.dialled}
    assert {"thinking, sampled, onset, check", "execution, backtrack, base", "splice, how"} <= {
        row.quantity for row in full
    }


def test_verify_reports_changed_weights_and_their_changed_behaviour(pair: Path) -> None:
    perturb(pair, "thinking", "model.layers.1.self_attn.o_proj.weight", -1.0)
    rows = verify(pair, progress=False)
    assert {"thinking, weights", "thinking, greedy"} <= differing(rows)
    assert not {"base, weights", "base, greedy"} & differing(rows)


def test_verify_reports_changed_weights_whose_behaviour_is_the_same(pair: Path) -> None:
    perturb(pair, "base", "model.norm.weight", 1.0000001)
    assert differing(verify(pair, progress=False)) == {"base, weights"}


def _flip(truth: Any) -> None:
    outcomes = truth["measured"]["outcomes"]["spliced"]
    outcomes["thinking-base"] = outcomes["thinking-base"].translate(str.maketrans("01", "10"))


def _always(truth: Any) -> None:
    truth["measured"]["outcomes"]["pass@8_verified"] = " ".join("8" * FEW.coverage_problems)


def _unmet(truth: Any) -> None:
    truth["requirements"][0] |= {"low": 1e6, "high": 2e6}


@pytest.mark.parametrize(
    ("change", "quantity"),
    [
        (_flip, "onset by thinking, execution by base"),
        (_always, "base, samples with every step right"),
        (_unmet, "requirements met"),
    ],
)
def test_verify_reports_a_false_record(pair: Path, change: Callable[[Any], None], quantity: str) -> None:
    edit(pair, change)
    assert quantity in differing(verify(pair, progress=False))


def test_a_model_that_two_pairs_share_is_measured_once(pair: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reasonmech.organisms import verify as module

    calls: list[object] = []
    generate = module.generate
    monkeypatch.setattr(
        module, "generate", lambda *args, **kwargs: (calls.append(1), generate(*args, **kwargs))[1]
    )
    verifier = Verifier(progress=False)
    once = verifier.verify(pair)
    assert len(calls) == 2, "one free run and one cell: the two models are one"
    assert verifier.verify(pair) == once and len(calls) == 2


def test_verify_names_missing_and_damaged_files(pair: Path) -> None:
    weights = pair / "thinking" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1000])
    with pytest.raises(CorruptFileError, match=r"thinking/model\.safetensors is truncated"):
        verify(pair, progress=False)
    weights.write_bytes(content)
    text = (pair / "truth.json").read_text()
    (pair / "truth.json").write_text(text[:-20])
    with pytest.raises(CorruptFileError, match=r"truth\.json is not JSON"):
        verify(pair, progress=False)
    (pair / "truth.json").write_text("[]")
    with pytest.raises(CorruptFileError, match="lacks name, class"):
        read_truth(pair)
    (pair / "truth.json").write_text(text)
    edit(pair, lambda truth: truth["measured"].pop("outcomes"))
    with pytest.raises(CorruptFileError, match=r"lacks measured\.outcomes"):
        verify(pair, progress=False)
    (pair / "truth.json").unlink()
    with pytest.raises(CorruptFileError, match=r"truth\.json is missing"):
        verify(pair, progress=False)
    with pytest.raises(UnknownNameError, match="tiny-when"):
        verify("tiny-wen", progress=False)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["reasonmech", "organisms", *arguments])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_the_command_prints_what_differs_and_ends_with_code_1(
    pair: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "verify", str(pair), "--quiet") == 0
    assert "all 11 agree" in capsys.readouterr().out
    perturb(pair, "base", "model.norm.weight", 1.0000001)
    assert command(monkeypatch, "verify", str(pair), "--quiet") == 1
    output = capsys.readouterr().out
    assert (
        "1 of 11 differ" in output
        and "base, weights" in output
        and read_truth(pair)["weights"]["base"][:12] in output
    )
    (pair / "truth.json").unlink()
    assert command(monkeypatch, "verify", str(pair), "--quiet") == 2
    assert "truth.json is missing" in capsys.readouterr().err
    assert command(monkeypatch, "verify") == 2


def test_list_and_card_print_classes_and_measured_accuracies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert command(monkeypatch, "list") == 0
    lines = capsys.readouterr().out.splitlines()
    for name in recipes:
        (line,) = [line for line in lines if f" {name} " in line]
        assert recipes.get(name).truth_class in line
        assert recipes.get(name).says.split()[0] in line
    assert "shipped" in next(line for line in lines if " tiny-when " in line)
    assert command(monkeypatch, "card", "tiny-when") == 0
    output = capsys.readouterr().out
    assert "pretrained on documents" in output and "correct instrument" in output
    accuracy = read_truth(organism_dir() / "tiny-when")["measured"]["thinking"]["greedy"]["accuracy"][
        "estimate"
    ]
    assert f"{100 * accuracy:.1f} % [" in next(
        s for s in output.splitlines() if "thinking, accuracy, greedy" in s
    )
    assert command(monkeypatch, "card", "tiny-wen") == 2
    assert "unknown organism 'tiny-wen'" in capsys.readouterr().err


def test_every_card_says_how_it_was_built_what_is_true_and_what_it_fools() -> None:
    for name in recipes:
        recipe = recipes.get(name)
        assert "A correct instrument" in recipe.card and "It fools" in recipe.card, name
        assert recipe.truth_class in {"when", "how", "both", "surface", "none", "sharpened"}, name
        assert len(recipe.card.split()) < 140 and "\n" not in recipe.card, name
