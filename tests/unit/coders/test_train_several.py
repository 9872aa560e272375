"""Several coders in one pass are the coders alone; a killed training goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest
import torch

from reasonmech.coders import (
    CoderConfig,
    SAELensCoder,
    SparseCoder,
    checkpoint,
    load_coder,
    train,
    train_coder,
    train_coders,
    training_curve,
)
from reasonmech.coders.checkpoint import CHECKPOINT_FILE
from reasonmech.coders.source import TensorSource, batches_of_rows, digest_of, moments_of
from reasonmech.coders.training import Training
from reasonmech.errors import (
    ArgumentError,
    ConfigError,
    CorruptFileError,
    DataError,
    OutputError,
    UnknownNameError,
)
from reasonmech.runtime import capture
from reasonmech.site import Site
from reasonmech.testing import tiny_host

SITES = (Site("resid_post", 0), Site("resid_post", 1))
COMMON = {"steps": 30, "batch_size": 64, "lr": 3e-3, "dead_after": 10, "checkpoint_every": 12}
CONFIGS = {
    "narrow": CoderConfig(architecture="topk", d_sae=24, k=4, **COMMON),
    "wide": CoderConfig(architecture="batchtopk", d_sae=48, k=4, **COMMON | {"steps": 20}),
    "nested": CoderConfig(
        architecture="matryoshka_batchtopk", d_sae=32, k=4, options={"matryoshka_widths": [8, 32]}, **COMMON
    ),
    "standard": CoderConfig(
        architecture="standard", d_sae=24, options={"l1_coefficient": 1.0, "l1_warm_up_steps": 10}, **COMMON
    ),
}


class TwoSites:
    """Sparse rows of two sites; counts how often a batch is read."""

    sites, host_name, host_hash, n_tokens = SITES, "made", "0" * 64, 500

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(0)
        codes = torch.rand(500, 20, generator=random) * (torch.rand(500, 20, generator=random) < 0.2)
        self.rows = {site: codes @ torch.randn(20, 16, generator=random) + 1 for site in SITES}
        self.reads: list[tuple[Site, int]] = []

    def take(self, site: Site | str, tokens: torch.Tensor) -> torch.Tensor:
        self.reads.append((Site.parse(site), len(tokens)))
        return self.rows[Site.parse(site)][tokens]

    def stream(
        self, site: Site | str, *, batch_size: int, seed: int, epochs: int, buffer: int
    ) -> Iterator[torch.Tensor]:
        random = torch.Generator().manual_seed(seed + 1)
        for _ in range(epochs):
            for subset in torch.randperm(500, generator=random).split(batch_size):
                self.reads.append((Site.parse(site), len(subset)))
                yield self.rows[Site.parse(site)][subset]


def hashes(coders: Mapping[str, SparseCoder]) -> dict[str, str]:
    return {name: coder.weight_hash for name, coder in coders.items()}


@cache
def undisturbed(*names: str) -> dict[str, SparseCoder]:
    """What a training of these configs gives that nothing happens to."""
    return train_coders(TwoSites(), {name: CONFIGS[name] for name in names}, progress=False)


def test_coders_of_one_pass_equal_the_coders_alone_and_read_every_batch_once() -> None:
    acts = TwoSites()
    coders = train_coders(acts, CONFIGS, progress=False)
    assert list(coders) == [f"{name}/{site}" for name in CONFIGS for site in SITES]
    assert sum(n == 64 for _, n in acts.reads) == 30 * len(SITES)  # not times four configs
    assert len(set(hashes(coders).values())) == len(coders)
    for name, config in CONFIGS.items():
        for site in SITES:
            alone = train_coder(TwoSites(), config, site=site, progress=False)
            assert alone.weight_hash == coders[f"{name}/{site}"].weight_hash, (name, site)


def test_with_a_buffer_the_store_streams_and_a_resumed_training_skips(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIGS["narrow"].model_copy(update={"buffer": 128})
    acts = TwoSites()
    streamed = train_coders(acts, {"a": config, "b": config.model_copy(update={"d_sae": 40})}, progress=False)
    assert [n for site, n in acts.reads if site == SITES[0] and n <= 64] == 4 * ([64] * 7 + [52]) + [64] * 2
    of_rows = undisturbed("narrow")
    for site in SITES:
        assert streamed[f"a/{site}"].weight_hash != of_rows[f"narrow/{site}"].weight_hash
    plain = Training.step

    def step(self: Training, batch: torch.Tensor) -> None:
        if self.n_steps == 27:
            raise Killed
        plain(self, batch)

    monkeypatch.setattr(Training, "step", step)
    with pytest.raises(Killed):
        train_coders(TwoSites(), {"a": config}, out=tmp_path / "c", progress=False)
    monkeypatch.setattr(Training, "step", plain)
    coders = train_coders(TwoSites(), {"a": config}, out=tmp_path / "c", progress=False)
    assert all(coder.weight_hash == streamed[name].weight_hash for name, coder in coders.items())


class Killed(BaseException):
    """Stands for a signal: no handler of ours catches it."""


@pytest.mark.parametrize(("after", "kept"), [(3, 0), (150, 96), (219, 184)])  # of 220 steps in all
def test_a_killed_training_goes_on_to_the_same_weights(
    after: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = undisturbed(*CONFIGS)
    steps, plain = 0, Training.step

    def step(self: Training, batch: torch.Tensor) -> None:
        nonlocal steps
        steps += 1
        if steps == after:
            raise Killed
        plain(self, batch)

    monkeypatch.setattr(Training, "step", step)
    with pytest.raises(Killed):
        train_coders(TwoSites(), CONFIGS, out=tmp_path / "coders", progress=False)
    assert not (tmp_path / "coders").exists() and (tmp_path / "coders.partial").is_dir()
    made = steps
    coders = train_coders(TwoSites(), CONFIGS, out=tmp_path / "coders", progress=False)
    assert hashes(coders) == hashes(whole)
    assert steps - made == 220 - kept
    for name, coder in coders.items():
        again = load_coder(tmp_path / "coders" / name)
        assert again.weight_hash == coder.weight_hash
        assert (
            training_curve(again)
            .drop(columns="coder")
            .equals(training_curve(whole[name]).drop(columns="coder"))
        )
    assert sorted(p.name for p in (tmp_path / "coders").iterdir()) == sorted(CONFIGS)
    assert not (tmp_path / "coders.partial").exists()
    with pytest.raises(OutputError, match=r"exists already[\s\S]*rm\.load_coder\("):
        train_coders(TwoSites(), CONFIGS, out=tmp_path / "coders", progress=False)


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from test_train_several import CONFIGS, TwoSites
from reasonmech.coders import train_coders
train_coders(TwoSites(), CONFIGS, out={out!r}, progress=False)
"""


@pytest.mark.slow
def test_a_training_survives_kill_9(tmp_path: Path) -> None:
    out = tmp_path / "coders"
    script = SCRIPT.format(folder=str(Path(__file__).parent), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", script])
    while not (tmp_path / "coders.partial" / CHECKPOINT_FILE).exists():
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL and not out.exists()
    subprocess.run([sys.executable, "-c", script], check=True)
    whole = train_coders(TwoSites(), CONFIGS, progress=False)
    assert {name: load_coder(out / name).weight_hash for name in whole} == hashes(whole)


def test_a_kill_before_the_plan_or_before_the_last_rename_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, steps = {"narrow": CONFIGS["narrow"]}, 0
    whole = undisturbed("narrow")
    (tmp_path / "c.partial").mkdir()
    (tmp_path / "c.partial" / "plan.json.unfinished").write_text("{")
    rename, plain = Path.rename, Training.step

    def killed(self: Path, target: Path) -> Path:
        if target == tmp_path / "c":
            raise Killed
        return rename(self, target)

    def step(self: Training, batch: torch.Tensor) -> None:
        nonlocal steps
        steps += 1
        plain(self, batch)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(Killed):
        train_coders(TwoSites(), one, out=tmp_path / "c", progress=False)
    monkeypatch.setattr(Path, "rename", rename)
    monkeypatch.setattr(Training, "step", step)
    coders = train_coders(TwoSites(), one, out=tmp_path / "c", progress=False)
    assert hashes(coders) == hashes(whole)
    assert steps == (30 - 24) * len(SITES)  # from the last checkpoint
    assert [path.name for path in (tmp_path / "c").iterdir()] == ["narrow"]


def test_coders_that_another_process_finished_meanwhile_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, plan = {"narrow": CONFIGS["narrow"]}, train._plan

    def late(*args: object) -> object:
        monkeypatch.setattr(train, "_plan", plan)
        train_coders(TwoSites(), one, out=tmp_path / "c", progress=False)
        return plan(*args)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(train, "_plan", late)
    with pytest.raises(OutputError, match="exists already"):
        train_coders(TwoSites(), one, out=tmp_path / "c", progress=False)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_a_training_on_more_rows_than_float32_counts_has_a_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan looks at the last row; in float32 row 19 999 999 is row 20 000 000."""
    monkeypatch.setattr(train, "train_together", lambda *args, **kwargs: {})
    rows = torch.ones(1, 4).expand(20_000_000, 4)
    train_coders(TensorSource(rows, SITES[:1], "made", "0"), {"a": CONFIGS["narrow"]}, out=tmp_path / "c")


NO_NAMES = [
    *("../c", "/c", "a/b", "", ".", "..", "a\\b", "a:b", " a", "a ", "a\n", "a\0b", "~/..", "x" * 300),
    *("plan.json", "PLAN.json", "training.safetensors", "record.json", ".lock", "a.partial", "a.unfinished"),
]


@pytest.mark.parametrize("name", NO_NAMES)
def test_a_coders_name_is_one_folder_of_its_directory(name: str, tmp_path: Path) -> None:
    mine = tmp_path / "d" / "resid_post.0" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    reads = TwoSites()
    with pytest.raises(ConfigError, match=re.escape(f"{name!r}")):
        train_coders(reads, {name: CONFIGS["narrow"]}, out=tmp_path / "d" / "c", progress=False)
    assert [*(tmp_path / "d").iterdir()] == [mine.parent] and mine.read_text() == "mine"
    assert not reads.reads  # refused before any work


def test_names_that_differ_by_their_case_only_are_one_folder_on_some_disks(tmp_path: Path) -> None:
    two = {"a": CONFIGS["narrow"], "A": CONFIGS["narrow"]}
    with pytest.raises(ConfigError, match=r"'A'.*another coder"):
        train_coders(TwoSites(), two, out=tmp_path / "c", progress=False)
    with pytest.raises(ArgumentError, match="name of a coder is the integer 3"):
        train_coders(TwoSites(), {3: CONFIGS["narrow"]}, out=tmp_path / "c", progress=False)  # pyright: ignore
    assert not list(tmp_path.iterdir())


def kill_at_the_end(configs: dict[str, CoderConfig], out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A training that has made its last step, and finished no coder."""

    def finish(self: Training, name: str) -> SAELensCoder:
        raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(Training, "finish", finish)
        with pytest.raises(Killed):
            train_coders(TwoSites(), configs, out=out, progress=False)


@pytest.mark.parametrize("row", [0, 250, 499])
def test_a_training_does_not_go_on_where_one_row_is_another(
    row: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"narrow": CONFIGS["narrow"]}
    kill_at_the_end(one, tmp_path / "c", monkeypatch)
    moved = TwoSites()
    moved.rows[SITES[1]][row, 3] += 1e-3
    with pytest.raises(OutputError, match=r"another training \(other activations\)"):
        train_coders(moved, one, out=tmp_path / "c", progress=False)
    whole = hashes(undisturbed("narrow"))
    assert hashes(train_coders(TwoSites(), one, out=tmp_path / "c", progress=False)) == whole


def test_a_store_is_known_by_its_own_hash(tmp_path: Path) -> None:
    host = tiny_host()
    texts = [f"w{i} w{i + 1} w{2 * i} ." for i in range(24)]
    stores = []
    for number, of_store in enumerate((texts, texts, [*texts[:-1], "w3 w4 ."])):
        stores.append(capture(host, of_store, ["resid_post.1"], out=tmp_path / f"s{number}", progress=False))
    first, same, other = (digest_of(store, store.sites) for store in stores)
    assert first == same == stores[0].content_hash and other != first


def test_another_training_is_not_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = {"narrow": CONFIGS["narrow"]}
    kill_at_the_end(one, tmp_path / "c", monkeypatch)
    other = {"narrow": CONFIGS["narrow"].model_copy(update={"seed": 1})}
    moved = TwoSites()
    moved.rows[SITES[1]] = moved.rows[SITES[1]] + 1
    for acts, configs in ((TwoSites(), other), (moved, one)):
        with pytest.raises(OutputError, match="another training"):
            train_coders(acts, configs, out=tmp_path / "c", progress=False)
    file = tmp_path / "c.partial" / CHECKPOINT_FILE
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CorruptFileError, match="begins again"):
        train_coders(TwoSites(), one, out=tmp_path / "c", progress=False)
    file.unlink()
    plan = tmp_path / "c.partial" / "plan.json"
    plan_text = plan.read_text()
    plan.write_text(plan_text[:20])
    with pytest.raises(CorruptFileError, match=r"plan\.json is not JSON"):
        train_coders(TwoSites(), one, out=tmp_path / "c", progress=False)
    plan.write_text(plan_text)
    train_coders(TwoSites(), one, out=tmp_path / "c", progress=False)


def test_a_full_disk_costs_nothing_before_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"narrow": CONFIGS["narrow"]}
    written, plain = 0, checkpoint.save_file

    def full(tensors: dict[str, torch.Tensor], path: Path, metadata: dict[str, str]) -> None:
        nonlocal written
        written += 1
        if written == 2:
            path.write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        plain(tensors, path, metadata=metadata)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(
        OutputError, match=r"No space left on device; it needs \d+ bytes[\s\S]*same call again"
    ):
        train_coders(TwoSites(), one, out=tmp_path / "c", progress=False)
    assert (tmp_path / "c.partial" / CHECKPOINT_FILE).exists()
    steps = 0
    forward = Training.step

    def step(self: Training, batch: torch.Tensor) -> None:
        nonlocal steps
        steps += 1
        forward(self, batch)

    monkeypatch.setattr(Training, "step", step)
    coders = train_coders(TwoSites(), one, out=tmp_path / "c", progress=False)
    assert steps == (30 - 12) * len(SITES)
    assert hashes(coders) == hashes(undisturbed("narrow"))


def test_a_disk_that_is_full_at_once_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(directory: Path, plan: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("reasonmech.resumable.write_plan", full)
    with pytest.raises(OutputError, match=r"c\.partial: .*No space left[\s\S]*make room"):
        train_coders(TwoSites(), {"narrow": CONFIGS["narrow"]}, out=tmp_path / "c", progress=False)
    (tmp_path / "d.partial").touch()
    with pytest.raises(OutputError, match=r"d\.partial is a file, which we never made"):
        train_coders(TwoSites(), {"narrow": CONFIGS["narrow"]}, out=tmp_path / "d", progress=False)


def test_what_cannot_share_a_pass_is_refused() -> None:
    differ = {"a": CONFIGS["narrow"], "b": CONFIGS["wide"].model_copy(update={"batch_size": 32})}
    with pytest.raises(ConfigError, match=r"'b': \(32, 0, None\)"):
        train_coders(TwoSites(), differ, progress=False)
    with pytest.raises(ConfigError, match="one batch_size"):
        train_coders(TwoSites(), {}, progress=False)
    with pytest.raises(UnknownNameError, match=r"resid_post\.0, resid_post\.1"):
        train_coders(TwoSites(), CONFIGS, sites=["resid_post.7"], progress=False)
    with pytest.raises(DataError, match="fewer than one batch of 1024"):
        train_coders(TwoSites(), ["topk"], progress=False)
    zeros = TensorSource(torch.zeros(100, 16), SITES[:1], "made", "0")
    with pytest.raises(DataError, match="all zero"):
        train_coders(zeros, {"narrow": CONFIGS["narrow"]}, progress=False)
    nested = CONFIGS["nested"].model_copy(update={"options": {"matryoshka_widths": [32, 8, 32]}})
    with pytest.raises(ConfigError, match="strictly increasing"):
        train_coder(TwoSites(), nested, site=SITES[0], progress=False)


def test_batches_pass_over_every_row_and_can_begin_anywhere() -> None:
    batches = batches_of_rows(10, batch_size=3, seed=0)
    whole = [next(batches) for _ in range(9)]
    for i in (0, 3, 6):
        assert len(torch.cat(whole[i : i + 3]).unique()) == 9
    assert not torch.equal(torch.cat(whole[:3]), torch.cat(whole[3:6]))
    for start in range(9):
        assert torch.equal(next(batches_of_rows(10, batch_size=3, seed=0, start=start)), whole[start])


def test_scaling_a_training_needs_no_list_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, sizes_drawn = torch.randperm, []

    def listed(n: int, *, generator: torch.Generator) -> torch.Tensor:
        assert n < 10**6
        sizes_drawn.append(n)
        return plain(n, generator=generator)

    monkeypatch.setattr(torch, "randperm", listed)
    ones = TensorSource(torch.ones(1, 4).expand(10**9, 4), SITES[:1], "made", "0")
    assert moments_of(ones, SITES[0], seed=0, device=torch.device("cpu")).norm == 2
    assert not sizes_drawn
    subset = TensorSource(torch.arange(40.0).reshape(20, 2), SITES[:1], "made", "0")
    assert moments_of(subset, SITES[0], seed=0, device=torch.device("cpu")).mean.tolist() == [
        19,
        20,
    ]  # each row once
    assert sizes_drawn == [20]


def test_the_curve_travels_with_the_coder(tmp_path: Path) -> None:
    config = CONFIGS["narrow"].model_copy(update={"steps": 250})
    coder = train_coder(TwoSites(), config, site=SITES[0], progress=False)
    curve = training_curve(coder)
    assert 100 <= len(curve) <= 130 and list(curve["step"][:3]) == [0, 2, 4] and curve["step"].iloc[-1] == 249
    assert curve["tokens"].iloc[-1] == 250 * 64
    assert curve["mse"].iloc[-1] < 0.5 * curve["mse"].iloc[0]
    assert curve["explained_variance"].iloc[-1] > 0.5 > curve["explained_variance"].iloc[0]
    assert (curve["l0"] <= 4).all()
    assert curve["lr"].iloc[0] == 3e-3 and curve["lr"].iloc[-1] < 1e-4  # decays to zero
    coder.save(tmp_path / "c")
    assert (
        json.loads((tmp_path / "c" / "cfg.json").read_text())["metadata"]["reasonmech"]["curve"]["step"][1]
        == 2
    )
    assert (
        training_curve(load_coder(tmp_path / "c")).drop(columns="coder").equals(curve.drop(columns="coder"))
    )


def test_a_coder_made_elsewhere_has_no_curve() -> None:
    from reasonmech.testing import tiny_coder, tiny_host

    with pytest.raises(DataError, match="no training curve"):
        training_curve(tiny_coder(tiny_host()))


def test_one_config_or_one_site_is_no_list() -> None:
    with pytest.raises(ConfigError, match="configs='topk' is one"):
        train_coders(TwoSites(), "topk", progress=False)
    with pytest.raises(ConfigError, match=r"sites='resid_post\.1' is one"):
        train_coders(TwoSites(), {"narrow": CONFIGS["narrow"]}, sites="resid_post.1", progress=False)
