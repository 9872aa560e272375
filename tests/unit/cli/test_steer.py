"""`reasonmech steer PLAN.yaml`: the answers of a file's model without its plan and under it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file

from reasonmech import cli
from reasonmech.interventions.plan_file import KEYS
from reasonmech.report.steering import SteeringFile
from reasonmech.testing import tiny_host


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["reasonmech", "steer", *arguments])
    try:
        cli.main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    host = tiny_host()
    host.model.save_pretrained(tmp_path / "model")
    host.tokenizer.save_pretrained(tmp_path / "model")
    save_file({"v": torch.ones(32) / 32**0.5}, tmp_path / "v.safetensors")
    steering = {
        "model": "model",
        "prompts": ["w1 w2", "w7 w8 w9"],
        "decode": {"max_new_tokens": 8},
        "plan": [
            {
                "edit": {"kind": "steer", "amount": 9.0},
                "axis": {"kind": "direction", "file": "v.safetensors", "site": "resid_post.1"},
                "where": {"or": [{"kind": "prompt", "start": -1}, "generated"]},
            }
        ],
    }
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(steering))
    return path


def change(path: Path, **keys: Any) -> str:
    steering = yaml.safe_load(path.read_text()) | keys
    path.write_text(yaml.safe_dump({key: value for key, value in steering.items() if value is not None}))
    return str(path)


def test_a_plan_file_shows_every_prompt_side_by_side_and_the_receipt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], plan_file: Path
) -> None:
    assert command(monkeypatch, str(plan_file)) == 0
    text = capsys.readouterr().out
    assert text.count("untouched") == text.count("steered") == 2
    assert "w1 w2" in text and "w7 w8 w9" in text
    assert "steer at resid_post.1" in text and " at 16 of" in text and "KL" in text


def test_one_prompt_is_one_prompt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], plan_file: Path
) -> None:
    assert command(monkeypatch, change(plan_file, prompts="w1 w2")) == 0
    assert capsys.readouterr().out.count("untouched") == 1


def test_problems_of_a_task_stand_in_for_prompts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], plan_file: Path
) -> None:
    task = {"kind": "chain", "n": 2, "seed": 1}
    head = [{"edit": "ablate", "axis": {"kind": "whole", "site": "z.1.2"}}]
    path = change(plan_file, prompts=None, task=task, model="organism:tiny-when/base", plan=head)
    assert command(monkeypatch, path) == 0
    assert capsys.readouterr().out.count("untouched") == 2


def test_a_gate_of_the_partner_runs_from_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], plan_file: Path
) -> None:
    plan = yaml.safe_load(plan_file.read_text())["plan"]
    plan[0]["when"] = {"kind": "uncertain_above", "threshold": 0.0}
    assert command(monkeypatch, change(plan_file, partner="model", plan=plan)) == 0
    assert "KL" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("keys", "happened", "allowed"),
    [
        ({"plam": []}, "plam", "model, partner, prompts, task, decode, plan"),
        ({"plan": []}, "plan", "keys"),
        ({"prompts": None}, "either prompts or a task", "keys"),
        ({"decode": {"max_new_tokens": 0}}, "decode.max_new_tokens", "keys"),
        ({"model": "nowhere"}, "nowhere", "existing directory"),
        ({"plan": [{"edit": "stear", "axis": {"kind": "whole", "site": "z.0"}}]}, "plan[0].edit", "steer"),
        ({"plan": [{"edit": "ablate", "axis": {"kind": "whole", "site": "z.9"}}]}, "plan[0].axis", "z.0"),
    ],
)
def test_a_mistake_in_a_plan_file_is_a_message_in_three_parts(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    plan_file: Path,
    keys: dict[str, Any],
    happened: str,
    allowed: str,
) -> None:
    assert command(monkeypatch, change(plan_file, **keys)) == 2
    message = capsys.readouterr().err
    assert happened in message and "Allowed: " in message and "Traceback" not in message
    assert allowed in message.partition("Allowed: ")[2]


@pytest.mark.parametrize(
    "arguments", [("model",), ("PLAN", "--tokens", "3"), ("PLAN", "--site", "z.0"), ("no.yaml",)]
)
def test_a_plan_file_goes_alone_and_a_model_with_a_prompt(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    plan_file: Path,
    arguments: tuple[str, ...],
) -> None:
    assert command(monkeypatch, *(str(plan_file) if one == "PLAN" else one for one in arguments)) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_the_keys_of_a_steering_file_are_those_that_load_plan_lets_pass() -> None:
    assert set(SteeringFile.model_fields) == set(KEYS)
