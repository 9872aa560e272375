"""The command line: every verb answers, and a caller's mistake is a message with exit code 2."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from reasonmech import cli
from tests.layouts import layout_host
from tests.made_run import make_run


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["reasonmech", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_help_names_every_verb(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    for verb in ("demo", "run", "check", "show", "pairs", "organisms", "train-coder", "steer", "doctor"):
        assert verb in text


def test_check_prints_every_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "check", "demo", "--set", "task.n=7") == 0
    text = capsys.readouterr().out
    assert "n: 7" in text and "temperature: 0.0" in text and "# valid" in text


def test_show_prints_the_answer_and_the_report(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = make_run(tmp_path / "made")
    assert command(monkeypatch, "show", str(run.path)) == 0
    text = capsys.readouterr().out
    assert "98.7 %" in text and str(run.path / "report.html") in text
    assert (run.path / "report.html").exists()
    assert "receipts: " in text and "--receipts" in text
    assert command(monkeypatch, "show", str(run.path), "--receipts") == 0
    listed = capsys.readouterr().out
    lines = [line for report_lines in run.record["receipts"].values() for line in report_lines]
    assert lines and "changed / named" in listed
    assert all(f"{line['n_changed']} / {line['n_masked']}" in listed for line in lines)


def test_pairs_says_whose_weights_are_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "pairs") == 0
    text = capsys.readouterr().out
    assert "tiny-when" in text and "to download" in text


def test_doctor_names_versions(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(monkeypatch, "doctor") == 0
    assert "transformer-lens" in capsys.readouterr().out


def test_doctor_knows_the_combination_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    from reasonmech import doctor

    monkeypatch.setattr(
        doctor, "package_versions", lambda: {"transformer-lens": "4.3.0", "sae-lens": "5.0.0"}
    )
    report_lines = doctor.diagnose()
    assert not report_lines.healthy and len(report_lines.traps) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "dmeo"), "unknown experiment 'dmeo'"),
        (("check", "demo", "--set", "nope=1"), "nope"),
        (("show", "nowhere"), "no run directory"),
        (("steer", "organism:nope/base", "hello", "--features", "1"), "unknown organism"),
    ],
)
def test_a_mistake_is_a_message(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    assert command(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err and "Traceback" not in captured.err


def test_a_wrong_option_is_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "run", "demo", "--outt", "x") == 2
    assert "--outt" in capsys.readouterr().err


def test_ctrl_c_says_that_it_resumes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from reasonmech import experiments

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(experiments, "run", interrupted)
    assert command(monkeypatch, "run", "demo") == 130
    assert "resumes" in capsys.readouterr().err


def test_steer_shows_before_and_after(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import save_file

    from reasonmech.testing import tiny_host

    host = tiny_host()
    host.model.save_pretrained(tmp_path / "model")
    host.tokenizer.save_pretrained(tmp_path / "model")
    save_file({"v": torch.ones(32)}, tmp_path / "v.safetensors")
    options = (
        "--vector",
        str(tmp_path / "v.safetensors"),
        "--site",
        "resid_post.1",
        "--amount",
        "9",
        "--tokens",
        "8",
    )
    assert command(monkeypatch, "steer", str(tmp_path / "model"), "w1 w2", *options) == 0
    text = capsys.readouterr().out
    assert "untouched" in text and "changed at 8 of" in text and "KL" in text


def write_pair_with_questions(folder: Path) -> Path:
    """A pair of random models whose task lies beside its file, named by a relative path."""
    for side, seed in (("base", 0), ("thinking", 1)):
        host = layout_host("qwen2", seed=seed)
        host.model.save_pretrained(folder / side)
        host.tokenizer.save_pretrained(folder / side)
    rows = [{"question": f"What is {i} + 1? 🙂", "answer": i + 1} for i in range(12)]
    (folder / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (folder / "pair.yaml").write_text(
        "name: sums\nbase: base\nthinking: thinking\ntask: jsonl:sums.jsonl?split=test&licence=CC0\n"
    )
    return folder


def test_a_pair_is_checked_and_evaluated_on_its_questions(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = write_pair_with_questions(tmp_path)
    assert command(monkeypatch, "check", str(folder / "pair.yaml")) == 0
    checked = capsys.readouterr().out
    assert "base: " in checked and "questions: 12" in checked and "licence: CC0" in checked
    assert "# valid; ModelPair('sums'" in checked
    assert command(monkeypatch, "evaluate", str(folder), "--n", "12", "--tokens", "8", "--quiet") == 0
    shown = capsys.readouterr().out
    for text in ("12 problems", "licence: CC0", "sha256: ", "sums/base", "unparsed", "timeout", "truncated"):
        assert text in shown
    assert " 0 (0% [0%, " in shown and "nan" not in shown
    assert command(monkeypatch, "evaluate", str(folder), "--n", "13") == 2
    assert "13 problems of split 'test'" in capsys.readouterr().err


def test_models_are_evaluated_as_their_generation_configs_say_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = write_pair_with_questions(tmp_path)
    command_line = ("evaluate", str(folder), "--n", "4", "--tokens", "4", "--quiet", "--published")
    assert command(monkeypatch, *command_line) == 2
    assert "says nothing of how tokens are drawn" in capsys.readouterr().err
    for side, temperature in (("base", 0.7), ("thinking", 0.6)):
        published = {"do_sample": True, "temperature": temperature, "top_p": 0.9}
        (folder / side / "generation_config.json").write_text(json.dumps(published))
    assert command(monkeypatch, *command_line) == 0
    shown = capsys.readouterr().out
    assert "sums/base: temperature 0.7, top_k 0, top_p 0.9, " in shown
    assert "sums/thinking: temperature 0.6, " in shown
    assert command(monkeypatch, *command_line, "--temperature", "1.0") == 2
    assert "temperature is said twice" in capsys.readouterr().err


def test_check_says_what_is_wrong_with_a_pairs_task(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert command(monkeypatch, "check", "tiny-when") == 0
    assert "task: chain" in capsys.readouterr().out
    for task, why in (
        ("jsonl:nowhere.jsonl", "nowhere.jsonl cannot be read"),
        ("reasoning_gym:chain_sums", "did you mean 'chain_sum'"),
        ("jsnl:a", "unknown task 'jsnl:a'"),
    ):
        (tmp_path / "pair.yaml").write_text(f"name: p\nbase: a\nthinking: b\ntask: {task}\n")
        assert command(monkeypatch, "check", str(tmp_path / "pair.yaml")) == 2
        assert why in capsys.readouterr().err
