"""Memory that is short is known before a pass: the batch is halved and said, or what is missing is named."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import MemoryShortError
from reasonmech.hybrid import train_vectors
from reasonmech.runtime import free_memory, memory
from reasonmech.runtime.forward import forward
from reasonmech.runtime.pass_bytes import kv_bytes, pass_bytes
from reasonmech.testing import ARCHITECTURES, tiny_host
from tests.unit.hybrid.test_kinds_of_any_task import DECODE, KINDS, PAIR, PROMPTS

HOST = tiny_host()
TEXTS = [f"w{i + 1} w2 . w{2 * i + 3}" for i in range(9)]


def room_for(monkeypatch: pytest.MonkeyPatch, n_bytes: int | None) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: n_bytes)


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_keys_and_values_take_what_is_said(arch: str) -> None:
    host = tiny_host(arch)
    cache = host.model(torch.tensor([[5, 6, 7]]), use_cache=True).past_key_values
    held = sum(x.numel() * x.element_size() for layer in cache.layers for x in (layer.keys, layer.values))
    assert held == 3 * kv_bytes(host)


def test_an_estimate_grows_with_rows_tokens_logits_and_the_cache() -> None:
    least = pass_bytes(HOST, 1, 8)
    assert pass_bytes(HOST, 2, 8) == 2 * least
    assert pass_bytes(HOST, 1, 16) > least
    assert pass_bytes(HOST, 1, 8, logits=8) - least == 7 * HOST.vocab_size * 8
    assert pass_bytes(HOST, 1, 8, cached=20) - least == 20 * kv_bytes(HOST)


def test_capture_is_halved_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = rm.capture(HOST, TEXTS, ["resid_post.3"], progress=False)
    room_for(monkeypatch, pass_bytes(HOST, 3, 4, logits=0))
    with pytest.warns(
        UserWarning, match=r"9 texts at once need .* kB of memory at least, .* going on with 2"
    ):
        parts = rm.capture(HOST, TEXTS, ["resid_post.3"], progress=False)
    torch.testing.assert_close(whole.at("resid_post.3"), parts.at("resid_post.3"), atol=1e-5, rtol=0)


def test_generation_is_halved_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = rm.Decode(max_new_tokens=5)
    whole = rm.generate(HOST, TEXTS, decode=decode, progress=False)
    room_for(monkeypatch, pass_bytes(HOST, 4, 4, cached=9))
    with pytest.warns(UserWarning, match="9 rows at once need .* going on with 4"):
        parts = rm.generate(HOST, TEXTS, decode=decode, progress=False)
    assert [r.ids for r in whole] == [r.ids for r in parts]


def test_a_pass_is_halved_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = forward(HOST, TEXTS)
    room_for(monkeypatch, pass_bytes(HOST, 4, 4, logits=4))
    with pytest.warns(UserWarning, match="9 texts at once need .* going on with 4"):
        parts = forward(HOST, TEXTS)
    assert all(torch.allclose(a, b, atol=3e-4) for a, b in zip(whole.logits, parts.logits, strict=True))


def test_what_does_not_fit_alone_is_refused_with_what_is_needed_and_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    room_for(monkeypatch, 1000)
    with pytest.raises(MemoryShortError) as short:
        rm.generate(HOST, TEXTS, decode=rm.Decode(max_new_tokens=200), progress=False)
    for part in ("one row needs", "1 kB are free on cpu", "lower max_new_tokens"):
        assert part in str(short.value)
    with pytest.raises(MemoryError, match="one text needs"):
        rm.capture(HOST, TEXTS, ["resid_post.3"], progress=False)


def test_training_names_the_store_where_its_caches_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    rollouts = rm.generate(PAIR.thinking, PROMPTS, decode=DECODE, progress=False)
    room_for(monkeypatch, sum(len(r.all_ids) for r in rollouts) * kv_bytes(PAIR.base) - 1)
    with pytest.raises(MemoryShortError, match=r"OnDisk\(site, directory\)"):
        train_vectors(PAIR.base, "resid_post.1", rollouts, kinds=KINDS, progress=False)


def test_memory_that_is_not_known_refuses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(monkeypatch, None)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rm.capture(HOST, TEXTS, ["resid_post.3"], progress=False)


def test_a_control_group_and_ulimit_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    everything = free_memory.free_memory(cpu)
    assert everything is not None and everything > 2**20
    for name, value in (("memory.max", "9000000\n"), ("memory.current", "5000000\n")):
        (tmp_path / name).write_text(value)
    (tmp_path / "memory.stat").write_text("anon 4000000\ninactive_file 1000000\n")
    monkeypatch.setattr(free_memory, "_CGROUP", tmp_path)
    assert free_memory.free_memory(cpu) == 5_000_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory.free_memory(cpu) > 5_000_000  # pyright: ignore[reportOptionalOperand]


@pytest.mark.slow
def test_a_process_with_a_limit_goes_on_in_halves() -> None:
    """A real limit on address space: a model whose batch would not fit is captured in smaller ones."""
    script = """
import resource, warnings, torch, reasonmech as rm
from reasonmech.testing import tiny_host
torch.set_num_threads(1)
host = tiny_host("llama", d_model=512, n_layers=4)
texts = [" ".join(f"w{(i + j) % 50}" for j in range(200)) for i in range(256)]
rm.capture(host, texts[:2], ["resid_post.1"], progress=False)
size = int(next(l for l in open("/proc/self/status") if l.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + 400 * 2**20,) * 2)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    acts = rm.capture(host, texts, ["resid_post.1"], keep=rm.Keep(batch_size=256), progress=False)
print(len(acts), *sorted({str(w.message).split(" at once")[0] for w in told}))
"""
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.startswith(f"{256 * 200} 256 texts"), out
