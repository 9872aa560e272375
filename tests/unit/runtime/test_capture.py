"""Captured activations: what is refused, what is kept, and what survives a kill."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from reasonmech.errors import (
    ArgumentError,
    CorruptFileError,
    DataError,
    NonFiniteError,
    OutputError,
    UnknownNameError,
)
from reasonmech.hosts import Host
from reasonmech.labels import Labels
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.runtime import Activations, Keep, capture
from reasonmech.runtime import capture as capture_function
from reasonmech.site import Site
from reasonmech.testing import tiny_host

assert capture is capture_function

SITES = ["resid_post.2", "resid_pre.1"]
ONE_BY_ONE = Keep(shard_tokens=100, batch_size=1)
TEXTS = [" ".join(f"w{(7 * i + 3 * j) % 50}" for j in range(1 + (5 * i) % 13)) for i in range(40)]


def rollout(number: int, prompt: tuple[int, ...], ids: tuple[int, ...]) -> Rollout:
    environment = tuple(i % 3 == 1 for i in range(len(ids)))
    return Rollout(
        Problem(f"p/{number}", "", ""), 0, prompt, ids, environment, (False,) * len(ids), "eos", ""
    )


ROLLOUTS = [rollout(0, (6, 7, 8), (9, 10, 11, 12)), rollout(1, (6,), (20, 21)), rollout(2, (30, 31), (32,))]


def test_the_index_says_whose_token_each_row_is() -> None:
    acts = capture(tiny_host(), ROLLOUTS, SITES, progress=False)
    assert acts.index["rollout"].tolist() == [0] * 7 + [1] * 3 + [2] * 3
    assert acts.index["position"].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 0, 1, 2]
    assert acts.index["token"].tolist() == [6, 7, 8, 9, 10, 11, 12, 6, 20, 21, 30, 31, 32]
    assert acts.index["problem"].tolist()[-4:] == ["p/1", "p/2", "p/2", "p/2"]
    assert acts.index["generated"].tolist() == [False] * 3 + [True] * 4 + [
        False,
        True,
        True,
        False,
        False,
        True,
    ]
    assert acts.index["by_environment"].tolist() == [
        *[False] * 4,
        True,
        *[False] * 4,
        True,
        False,
        False,
        False,
    ]
    assert acts.n_tokens == len(acts.at("resid_pre.1")) == 13


def test_labelled_rows_are_found_and_missing_ones_refused() -> None:
    acts = capture(tiny_host(), ROLLOUTS, SITES, progress=False)

    def labels(rollouts: list[int], positions: list[int]) -> Labels:
        n = len(rollouts)
        return Labels(
            "x", "recognises", np.array(rollouts), np.array(positions), np.ones(n, bool), np.array(["p"] * n)
        )

    rows = acts.rows("resid_post.2", labels([1, 0, 2], [2, 6, 0]))
    assert torch.equal(rows, acts.at("resid_post.2")[[9, 6, 10]])
    for where in ([1], [3]), ([0], [7]), ([3], [0]):
        with pytest.raises(DataError, match="not captured"):
            acts.rows("resid_post.2", labels(*where))
    for where in ([-1], [0]), ([0], [-1]):
        with pytest.raises(ArgumentError, match="negative number"):
            acts.rows("resid_post.2", labels(*where))
    with pytest.raises(UnknownNameError, match=r"resid_post\.2, resid_pre\.1"):
        acts.at("resid_post.1")


def test_sites_and_texts_are_checked() -> None:
    host = tiny_host()
    with pytest.raises(UnknownNameError, match=r"resid_post\.0 \.\. resid_post\.3"):
        capture(host, TEXTS, ["resid_post.4"])
    with pytest.raises(DataError, match="no site"):
        capture(host, TEXTS, [])
    with pytest.raises(DataError, match="no text"):
        capture(host, [], SITES)
    with pytest.raises(DataError, match=r"text 1 \(text/1\) has no token"):
        capture(host, ["w1", ""], SITES)


@pytest.mark.parametrize("batch_size", [0, -1])
def test_a_batch_holds_a_text(tmp_path: Path, batch_size: int) -> None:
    """With -1 no batch would run, and what was in memory before would be kept."""
    for out in (None, tmp_path / "store"):
        with pytest.raises(DataError, match=f"batch_size={batch_size}"):
            keep = Keep(batch_size=batch_size)
            capture(tiny_host(), TEXTS, SITES, keep=keep, out=out, progress=False)


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64, torch.float8_e4m3fn])
def test_a_dtype_that_does_not_hold_activations_is_refused(dtype: torch.dtype) -> None:
    with pytest.raises(DataError, match=f"{dtype}.*\n.*torch.bfloat16"):
        capture(tiny_host(), TEXTS, SITES, keep=Keep(dtype=dtype), progress=False)


@pytest.mark.parametrize("token", [-1, 64])
def test_a_token_that_the_model_does_not_have_is_named(token: int, tmp_path: Path) -> None:
    """Rollouts of a model with a larger vocabulary."""
    for out in (None, tmp_path / "store"):
        with pytest.raises(
            DataError, match=rf"token {token} at position 3 of text 0 \(p/7\)[\s\S]*0 \.\. 63"
        ):
            capture(tiny_host(), [rollout(7, (6, 7), (8, token))], SITES, out=out, progress=False)


def test_layers_above_the_last_site_do_not_run_and_no_hook_stays() -> None:
    host = tiny_host()
    ran: list[int] = []
    for layer in range(4):
        host.layers[layer].register_forward_hook(lambda *_, layer=layer: ran.append(layer))
    hooks = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in host.model.modules()]
    capture(host, TEXTS[:3], ["mlp_out.1", "resid_post.0"], progress=False)
    assert ran == [0]  # block 1 ends inside its MLP
    capture(host, TEXTS[:3], ["resid_pre.2"], progress=False)
    assert ran == [0, 0, 1]
    with pytest.raises(DataError):
        capture(host, ["w1", ""], SITES, progress=False)
    assert hooks == [
        len(module._forward_hooks) + len(module._forward_pre_hooks) for module in host.model.modules()
    ]


def test_nan_names_site_problem_and_position() -> None:
    host = tiny_host()
    with torch.no_grad():  # only this token's embedding is bad, and it stands at position 2 of p/1
        host.model.get_input_embeddings().weight[21] = torch.nan
    with pytest.raises(NonFiniteError, match=r"resid_pre\.0 .* problem 'p/1' at position 2"):
        capture(host, ROLLOUTS, ["resid_pre.0"], progress=False)
    with pytest.raises(
        NonFiniteError, match=r"resid_post\.0 .* problem 'p/1'"
    ):  # attention has spread it over the row
        capture(host, ROLLOUTS, ["resid_post.0"], progress=False)


def test_overflow_of_a_narrow_dtype_is_an_error_too() -> None:
    host = tiny_host()
    with torch.no_grad():
        host.model.get_input_embeddings().weight.mul_(1e6)
    assert capture(host, ROLLOUTS, ["resid_pre.0"], progress=False).at("resid_pre.0").isfinite().all()
    with pytest.raises(NonFiniteError, match="wider dtype"):
        capture(host, ROLLOUTS, ["resid_pre.0"], keep=Keep(dtype=torch.float16), progress=False)


def test_a_store_equals_memory_and_can_be_loaded_again(tmp_path: Path) -> None:
    host = tiny_host()
    memory = capture(host, TEXTS, SITES, keep=Keep(batch_size=1), progress=False)
    stored = capture(host, TEXTS, SITES, keep=ONE_BY_ONE, out=tmp_path / "store", progress=False)
    assert len(stored.shards) == 3
    for acts in (stored, Activations.load(tmp_path / "store")):
        assert acts.index.equals(memory.index) and acts.host_hash == host.weight_hash
        for site in SITES:
            assert torch.equal(acts.at(site), memory.at(site))
            row_numbers = torch.randperm(len(acts))[:50]
            assert torch.equal(acts.take(site, row_numbers), memory.at(site)[row_numbers])
    memory.save(tmp_path / "again")
    assert torch.equal(Activations.load(tmp_path / "again").at(SITES[0]), memory.at(SITES[0]))


def test_an_existing_or_foreign_store_is_refused(tmp_path: Path) -> None:
    host = tiny_host()
    capture(host, TEXTS, SITES, out=tmp_path / "store", progress=False)
    with pytest.raises(OutputError, match="exists already"):
        capture(host, TEXTS, SITES, out=tmp_path / "store", progress=False)
    (tmp_path / "store").rename(tmp_path / "other.partial")
    with pytest.raises(OutputError, match="part of another capture"):
        capture(host, TEXTS[:5], SITES, out=tmp_path / "other", progress=False)
    with pytest.raises(OutputError, match="is partial"):
        Activations.load(tmp_path / "other")
    with pytest.raises(OutputError, match="does not exist"):
        Activations.load(tmp_path / "nowhere")


def test_a_killed_capture_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = tiny_host()
    whole = capture(host, TEXTS, SITES, keep=Keep(batch_size=1), progress=False)
    forward, calls = host.model.forward, []

    def killed(*args: object, **kwargs: object) -> object:
        calls.append(1)
        if len(calls) == 20:  # in the second of three shards
            raise KeyboardInterrupt
        return forward(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(host.model, "forward", killed)
        with pytest.raises(KeyboardInterrupt):
            capture(host, TEXTS, SITES, keep=ONE_BY_ONE, out=tmp_path / "store", progress=False)
    assert not (tmp_path / "store").exists()
    first = next(i for i in range(len(TEXTS)) if sum(len(host.encode(text)) for text in TEXTS[: i + 1]) > 100)
    assert 0 < first < 20
    with monkeypatch.context() as patch:
        calls.extend([1] * 100)
        patch.setattr(host.model, "forward", killed)
        done = len(calls)
        stored = capture(host, TEXTS, SITES, keep=ONE_BY_ONE, out=tmp_path / "store", progress=False)
        assert len(calls) - done == len(TEXTS) - first
    for site in SITES:
        assert torch.equal(stored.at(site), whole.at(site))


@pytest.mark.parametrize("file", ["acts-00000.safetensors", "index/00000.parquet", "record.json"])
def test_a_truncated_store_is_refused(tmp_path: Path, file: str) -> None:
    capture(tiny_host(), TEXTS, SITES, out=tmp_path / "store", progress=False)
    damaged = tmp_path / "store" / file
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(CorruptFileError):
        Activations.load(tmp_path / "store")


def test_progress_is_silent_when_switched_off(capsys: pytest.CaptureFixture[str]) -> None:
    capture(tiny_host(), TEXTS, SITES, progress=False)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
    capture(tiny_host(), TEXTS, SITES)
    assert "capture" in capsys.readouterr().err


def test_one_text_and_one_site_are_taken_as_one() -> None:
    host, several = tiny_host(), capture(tiny_host(), ["w1 w2"], ["resid_post.1"], progress=False)
    for text in ("w1 w2", rollout(0, tuple(host.encode("w1")), tuple(host.encode("w2")))):
        for site in ("resid_post.1", Site("resid_post", 1)):
            one = capture(host, text, site, progress=False)
            assert one.sites == several.sites and torch.equal(one.at(site), several.at(site))


@pytest.mark.parametrize(
    ("call", "happened"),
    [
        (lambda host: capture(["w1"], host, SITES), "host is a list of 1"),
        (lambda host: capture(host, torch.ones(3), SITES), r"rollouts is a Tensor of shape \(3,\)"),
        (lambda host: capture(host, 5, SITES), "rollouts is the integer 5"),
        (lambda host: capture(host, ["w1", 5], SITES, progress=False), r"rollouts\[1\] is the integer 5"),
        (lambda host: capture(host, ["w1"], 2), "sites is the integer 2"),
        (lambda host: capture(host, ["w1"], [2]), r"sites\[0\] is the integer 2"),
        (lambda host: capture(host, ["w1"], SITES, keep=100), "keep is the integer 100"),
        (lambda host: capture(host, ["w1"], SITES, keep=lambda text: True), "keep is the function"),
        (lambda host: Keep("generated"), "where is the string 'generated'"),
        (lambda host: Keep(codes=3), "codes is the integer 3"),
        (lambda host: Keep(dtype="float16"), "dtype is the string 'float16'"),
        (lambda host: Activations.load(host), "path is a Host"),
        (lambda host: Activations.load("x", host="tiny"), "host is the string 'tiny'"),
    ],
)
def test_another_type_is_refused_in_three_parts(call: Callable[[Host], object], happened: str) -> None:
    with pytest.raises(ArgumentError, match=happened) as caught:
        call(tiny_host())
    assert caught.value.allowed


def test_a_repr_is_one_line(tmp_path: Path) -> None:
    acts = capture(tiny_host(), "w1 w2", SITES, out=tmp_path / "store", progress=False)
    assert repr(acts) == "Activations(2 tokens of 'tiny-llama-0' at resid_post.2, resid_pre.1)"
    assert "\n" not in repr(Keep(shard_tokens=3)) and "tensor" not in repr(acts.origin)
