"""Files of a model that are edited after they were loaded: what was loaded counts, in hand and in identity;
whoever loads again has another model, and interrupted work of the first does not go on with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import reasonmech as rm
from reasonmech.coders import CoderConfig, load_coder, train_coders
from reasonmech.errors import OutputError, ReasonmechError
from reasonmech.hosts import Host, load_host
from reasonmech.interventions.axes import Direction
from reasonmech.resumable import ResumableDirectory
from reasonmech.runtime import capture, forward
from reasonmech.testing import tiny_coder, tiny_host
from tests.layouts import layout_host

TEXTS = ["w1 w2 . w3", "w9 w1 w22 w4"]
CONFIGURATIONS = rm.sweeps.grid(
    {"v": Direction.along(torch.ones(32), "resid_post.1")}, "steer", amounts=(5.0,)
)


def put(name: str, **values: object) -> Callable[[Path], None]:
    """An edit of one file, in place."""

    def edit(folder: Path) -> None:
        file = folder / name
        whole: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        file.write_text(json.dumps(whole | values))

    return edit


def other_weights(folder: Path) -> None:
    """Copied over the file that is there, as `cp` does."""
    file = folder / "model.safetensors"
    bytes_ = bytearray(file.read_bytes())
    for at in range(len(bytes_) // 2, len(bytes_) - 3, 4):
        bytes_[at + 2] ^= 0x40
    with file.open("r+b") as written:
        written.write(bytes(bytes_))


def lower_cased(folder: Path) -> None:
    put("tokenizer.json", normalizer={"type": "Lowercase"})(folder)


ANOTHER_MODEL = {
    "generation_config.json": put("generation_config.json", eos_token_id=[1, 9]),
    "config.json": put("config.json", rms_norm_eps=0.3),
    "tokenizer.json": lower_cased,
    "model.safetensors": other_weights,
}
NO_MODEL = {
    "adapter_config.json": put("adapter_config.json", peft_type="LORA", r=4),
    "config.json cut off": lambda folder: (folder / "config.json").write_text('{"model_type": "ll'),
    "generation_config.json that names no ids": put("generation_config.json", eos_token_id="<eos>"),
    "no files": shutil.rmtree,
    "weights cut off": lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 100),
}
EDITS = ANOTHER_MODEL | NO_MODEL


def saved(host: Host, folder: Path) -> Path:
    host.model.save_pretrained(folder)
    host.tokenizer.save_pretrained(folder)
    return folder


def observed(host: Host, texts: list[str]) -> list[object]:
    """What a host is and does, as values."""
    written = rm.generate(host, texts, decode=rm.Decode(max_new_tokens=12), progress=False)
    logits = forward(host, texts).logits
    ids = [host.encode(text) for text in texts]
    return [host.fingerprint, host.model_identity(), host.eos_ids, ids, *[r.ids for r in written], *logits]


def same(one: list[object], other: list[object]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b for a, b in pairs)  # pyright: ignore


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("layout", ["words", "gemma"])
def test_a_loaded_host_is_what_was_loaded(layout: str, edit: str, tmp_path: Path) -> None:
    made, texts = (tiny_host(), TEXTS) if layout == "words" else (layout_host(layout), ["So 3 + 4. Wait"])
    host = load_host(saved(made, tmp_path / "m"))
    before = observed(host, texts)
    EDITS[edit](tmp_path / "m")
    assert same(observed(host, texts), before)


@pytest.mark.parametrize("edit", ANOTHER_MODEL)
def test_who_loads_again_has_another_model(edit: str, tmp_path: Path) -> None:
    first = load_host(saved(tiny_host(), tmp_path / "m"))
    ANOTHER_MODEL[edit](tmp_path / "m")
    assert load_host(tmp_path / "m").fingerprint != first.fingerprint


@pytest.mark.parametrize("edit", NO_MODEL)
def test_what_is_no_model_any_more_is_refused(edit: str, tmp_path: Path) -> None:
    saved(tiny_host(), tmp_path / "m")
    NO_MODEL[edit](tmp_path / "m")
    with pytest.raises(ReasonmechError):
        load_host(tmp_path / "m").eos_ids  # noqa: B018 - ends are read when they are asked for


def test_a_loaded_coder_is_what_was_loaded(tmp_path: Path) -> None:
    host = tiny_host()
    tiny_coder(host).save(tmp_path / "coder")
    coder, x = load_coder(tmp_path / "coder", host=host), torch.randn(3, 32)
    before, identity = coder.encode(x).clone(), coder.weight_hash
    file = tmp_path / "coder" / "sae_weights.safetensors"
    with file.open("r+b") as written:
        written.seek(file.stat().st_size // 2)
        written.write(b"\x3f" * 400)
    assert torch.equal(coder.encode(x), before) and coder.weight_hash == identity


# interrupted work -----------------------------------------------------------------------------------------


def captured(host: Host, out: Path) -> object:
    return capture(host, TEXTS, ["resid_post.1"], out=out, progress=False)


def swept(host: Host, out: Path) -> object:
    metric = rm.metrics.logit_diff(host, good="w1", bad="w2")
    return rm.sweep(host, TEXTS, CONFIGURATIONS, metric=metric, out=out, progress=False)


def trained(host: Host, out: Path) -> object:
    acts = capture(host, TEXTS, ["resid_post.1"], progress=False)
    config = CoderConfig(architecture="topk", d_sae=8, k=2, steps=2, batch_size=4)
    return train_coders(acts, {"a": config}, out=out, progress=False)


def interrupted(call: Callable[[], object]) -> None:
    """A call that dies when all is there but the name of its directory."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResumableDirectory, "complete", die)
        with pytest.raises(KeyboardInterrupt):
            call()


@pytest.mark.parametrize("edit", ANOTHER_MODEL)
@pytest.mark.parametrize("work", [captured, swept, trained])
def test_interrupted_work_goes_on_with_what_was_loaded_alone(
    work: Callable[[Host, Path], object], edit: str, tmp_path: Path
) -> None:
    host = load_host(saved(tiny_host(), tmp_path / "m"))
    interrupted(lambda: work(host, tmp_path / "out"))
    ANOTHER_MODEL[edit](tmp_path / "m")
    with pytest.raises(OutputError, match="part of another"):
        work(load_host(tmp_path / "m"), tmp_path / "out")
    assert work(host, tmp_path / "out") is not None, "the host in hand is the one that it was begun with"
