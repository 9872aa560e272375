"""Sweeps: every cell is forward of its text alone, whatever stands beside it and however often it was
interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from reasonmech.causal.sweeps.configurations import CLEAN, Configuration, grid
from reasonmech.causal.sweeps.identity import content
from reasonmech.causal.sweeps.sweep import estimate_sweep, sweep
from reasonmech.causal.sweeps.table import SweepTable
from reasonmech.causal.sweeps.trials import TextTrials
from reasonmech.errors import (
    CorruptFileError,
    DataError,
    NoChangeError,
    NonFiniteError,
    OutputError,
    UnknownNameError,
)
from reasonmech.interventions import Direction, Features, Whole, ablate, patch, prompt, steer, tokens
from reasonmech.interventions.masks import at
from reasonmech.resumable import only_writer
from reasonmech.runtime.forward import forward
from reasonmech.runtime.readout import Reading
from reasonmech.testing import tiny_coder, tiny_host

MODULE = import_module("reasonmech.causal.sweeps.sweep")  # the package has a function of the same name
HOST = tiny_host()
CODER = tiny_coder(HOST)
TEXTS = ["w1 w2 . w3", "w5 w6", "w9 w1 . w4 w2 w40 w3", "<think> w7 w7", "w1 . w2 w3 ."]
SIXTEEN = TextTrials(TEXTS, batch_rows=16)
LAST = {"last": prompt(start=-1), "all": prompt()}


@dataclass(frozen=True)
class Prefers:
    """logit(good) - logit(bad)."""

    good: int
    bad: int
    name = "prefers"
    unit = "logits"

    def continuations(self, host: object, n_texts: int) -> Sequence[Sequence[tuple[int, ...]]]:
        return [()] * n_texts

    def value(self, reading: Reading) -> torch.Tensor:
        return reading.logits[:, self.good] - reading.logits[:, self.bad]


METRIC = Prefers(9, 12)
SOURCE = torch.randn(5, 7, 32, generator=torch.Generator().manual_seed(0))


def direction(seed: int, site: str = "resid_post.1") -> Direction:
    return Direction.along(torch.randn(HOST.d_model, generator=torch.Generator().manual_seed(seed)), site)


def configurations() -> list[Configuration]:
    features = {f"feature {i}": Features(CODER, (i,)) for i in (3, 9)}
    return [
        *grid(features, "clamp", amounts=(2.0, 8.0), where=LAST),
        *grid(features, "ablate"),
        *grid(
            {"v": direction(0, "mlp_out.0"), "random": lambda seed: direction(seed)},
            "steer",
            amounts=(4.0,),
            seeds=(1, 2),
        ),
        Configuration("stream", [patch(Whole("resid_post.2"), SOURCE)]),
    ]


def value_of(table: pd.DataFrame, name: str, text: int) -> float:
    (value,) = table.query("configuration == @name and text == @text")["value"]
    return float(value)


def test_every_value_is_forward_of_its_text_alone() -> None:
    chosen = configurations()
    table = sweep(HOST, SIXTEEN, chosen, metric=METRIC, progress=False).table
    assert len(table) == (len(chosen) + 1) * len(TEXTS)
    assert table.query("configuration != @CLEAN")["effect"].abs().median() > 0.1, "nothing was changed"
    for text, source in enumerate(TEXTS):
        logits = forward(HOST, [source]).logits[0][-1]
        assert value_of(table, CLEAN, text) == pytest.approx(float(logits[9] - logits[12]), abs=1e-4)
        for one in chosen:
            aligned = one.name == "stream"  # its source is one stream per row of the run
            alone = [patch(Whole("resid_post.2"), SOURCE[text])] if aligned else one.plan
            quiet = [intervention.allow_no_change() for intervention in alone]  # a gate may stay shut here
            logits = forward(HOST, [source], quiet, receipt="none").logits[0][-1]
            assert value_of(table, one.name, text) == pytest.approx(
                float(logits[9] - logits[12]), abs=1e-4
            ), one.name


def test_the_order_in_which_things_are_given_changes_nothing() -> None:
    chosen = configurations()
    first = sweep(HOST, SIXTEEN, chosen, metric=METRIC, progress=False).table
    second = sweep(HOST, SIXTEEN, chosen[::-1], metric=METRIC, progress=False).table
    assert list(first["configuration"].unique()) == [CLEAN, *(one.name for one in chosen)]
    assert list(second["configuration"].unique()) == [CLEAN, *(one.name for one in chosen[::-1])]
    assert first["cell"].is_unique and set(first["cell"]) == set(second["cell"])
    both = first.merge(second, on="cell", validate="one_to_one")
    assert both["value_x"].equals(both["value_y"].rename("value_x"))


def test_a_cell_is_known_by_everything_that_its_number_depends_on(tmp_path: Path) -> None:
    one = grid({"v": direction(0)}, "steer", amounts=(4.0,))

    def cell(**changed: object) -> str:
        settings = {"host": HOST, "texts": TEXTS[:2], "configurations": one, "metric": METRIC} | changed
        host, texts, chosen = (settings.pop(name) for name in ("host", "texts", "configurations"))
        return sweep(host, texts, chosen, **settings, progress=False).table["cell"].iloc[-1]  # pyright: ignore

    base = cell()
    assert base == cell(configurations=[replace(one[0], name="another name")])
    assert base == cell(configurations=[*grid({"w": direction(3)}, "ablate"), *one])
    changed = {
        "amount": cell(configurations=grid({"v": direction(0)}, "steer", amounts=(4.5,))),
        "axis": cell(configurations=grid({"v": direction(1)}, "steer", amounts=(4.0,))),
        "mask": cell(configurations=grid({"v": direction(0)}, "steer", amounts=(4.0,), where=LAST["last"])),
        "text": cell(texts=["w1 w2 . w3", "w5 w7"]),
        "metric": cell(metric=Prefers(9, 13)),
        "host": cell(host=tiny_host(seed=1)),
        "base": base,
    }
    assert len(set(changed.values())) == len(changed), changed


def test_mean_is_paired_and_its_interval_is_by_text() -> None:
    swept = sweep(HOST, TEXTS, configurations(), metric=METRIC, progress=False)
    mean = swept.mean.set_index("configuration")
    rows = swept.table.query("configuration == 'stream'")
    assert mean.loc["stream", "effect"] == pytest.approx(rows["effect"].mean())
    assert mean.loc["stream", "effect"] == pytest.approx(
        mean.loc["stream", "value"] - mean.loc["stream", "clean"]
    )
    assert (mean["effect_low"] <= mean["effect"]).all() and (mean["effect"] <= mean["effect_high"]).all()
    random = np.random.default_rng(1)
    draws = random.choice(rows["effect"], (20_000, len(rows))).mean(1)
    assert mean.loc["stream", ["effect_low", "effect_high"]].to_numpy(float) == pytest.approx(
        np.quantile(draws, (0.025, 0.975)), abs=0.1 * np.ptp(rows["effect"])
    )
    assert mean.loc["feature 3 · clamp 2 · all", "n_masked"] == sum(len(HOST.encode(text)) for text in TEXTS)
    alone = sweep(HOST, TEXTS[:1], configurations()[:2], metric=METRIC, progress=False).mean
    assert alone["effect_low"].isna().all() and alone["effect"].notna().all()


def test_rows_say_what_they_are() -> None:
    table = sweep(HOST, TEXTS, configurations(), metric=METRIC, progress=False).table
    row = table.query("configuration == 'random · steer 4 · seed 2'").iloc[0]
    assert (row["axis"], row["site"], row["verb"], row["amount"]) == ("random", "resid_post.1", "steer", 4.0)
    assert (row["where"], row["seed"], row["metric"], row["unit"]) == ("everywhere()", 2, "prefers", "logits")
    assert row["effect"] == row["value"] - row["clean"]
    assert row["n_gated"] == row["n_masked"] == len(HOST.encode(TEXTS[0]))


def test_interrupted_at_every_shard_it_ends_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MODULE, "BATCHES_PER_SHARD", 1)
    settings = {"metric": METRIC, "progress": False}
    chosen = configurations()
    whole = sweep(HOST, SIXTEEN, chosen, out=tmp_path / "whole", **settings)
    from reasonmech.causal.sweeps.store import SweepStore

    write, computed = SweepStore.write, []

    def die(self: SweepStore, number: int, shard: pd.DataFrame) -> None:
        write(self, number, shard)
        computed.append(number)
        raise KeyboardInterrupt

    monkeypatch.setattr(SweepStore, "write", die)
    for shard in range(-(-len(whole) // 16)):
        with pytest.raises(KeyboardInterrupt):
            sweep(HOST, SIXTEEN, chosen[::-1], out=tmp_path / "cut", **settings)
        assert computed[-1] == shard and not (tmp_path / "cut").exists()
        with pytest.raises(OutputError, match=f"not finished: {shard + 1} shards"):
            SweepTable.load(tmp_path / "cut")
    monkeypatch.setattr(SweepStore, "write", write)
    assert estimate_sweep(HOST, SIXTEEN, chosen, metric=METRIC, out=tmp_path / "cut").n_done == len(whole)
    resumed = sweep(HOST, SIXTEEN, chosen, out=tmp_path / "cut", **settings)
    pd.testing.assert_frame_equal(whole.table, resumed.table, check_exact=True)
    in_memory = sweep(HOST, SIXTEEN, chosen, **settings)
    pd.testing.assert_frame_equal(whole.table, in_memory.table, check_exact=True)
    assert sorted(path.name for path in (tmp_path / "cut").iterdir()) == [
        "plan.json",
        "record.json",
        "table.parquet",
    ]


def test_a_finished_sweep_is_read_and_a_changed_one_refused(tmp_path: Path) -> None:
    chosen, out = configurations(), tmp_path / "out"
    whole = sweep(HOST, TEXTS, chosen, metric=METRIC, out=out, progress=False)
    assert whole.record["host_hash"] == HOST.weight_hash
    before = (out / "table.parquet").stat().st_mtime_ns
    again = sweep(HOST, TEXTS, chosen, metric=METRIC, out=out, progress=False)
    pd.testing.assert_frame_equal(whole.table, again.table, check_exact=True)
    with pytest.raises(OutputError) as caught:
        fewer = TextTrials(TEXTS[:4], batch_rows=64)
        sweep(HOST, fewer, chosen[1:], metric=Prefers(9, 13), out=out, progress=False)
    message = str(caught.value)
    for key in (
        "metric.bad: 12, now 13",
        "batch_rows: 128, now 64",
        f"configurations.{chosen[0].name}:",
        "texts.4:",
    ):
        assert key in message, message
    assert "metric.good" not in message and "texts.3" not in message and "host" not in message
    assert (out / "table.parquet").stat().st_mtime_ns == before


def test_a_changed_sweep_is_refused_when_it_would_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reasonmech.causal.sweeps.store import SweepStore

    def die(self: SweepStore, number: int, shard: pd.DataFrame) -> None:
        raise KeyboardInterrupt

    chosen, out = configurations(), tmp_path / "out"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(SweepStore, "write", die)
        sweep(HOST, TEXTS, chosen, metric=METRIC, out=out, progress=False)
    with pytest.raises(OutputError, match=r"host: \w+…, now \w+…"):
        sweep(tiny_host(seed=1), TEXTS, chosen[10:12], metric=METRIC, out=out, progress=False)
    assert len(sweep(HOST, TEXTS, chosen, metric=METRIC, out=out, progress=False)) == (len(chosen) + 1) * len(
        TEXTS
    )


def test_another_process_that_writes_the_same_sweep_is_told(tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    with (
        only_writer(tmp_path / "out.partial"),
        pytest.raises(OutputError, match="another process is writing"),
    ):
        sweep(HOST, TEXTS, configurations(), metric=METRIC, out=tmp_path / "out", progress=False)


def test_a_shard_that_somebody_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from reasonmech.causal.sweeps.store import SweepStore

    def die(self: SweepStore, table: pd.DataFrame, record: dict[str, object]) -> Path:
        raise KeyboardInterrupt

    out = tmp_path / "out"
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(SweepStore, "complete", die)
        sweep(HOST, TEXTS, configurations(), metric=METRIC, out=out, progress=False)
    (path,) = (tmp_path / "out.partial" / "shards").iterdir()
    shard = pd.read_parquet(path)
    for damage in (
        lambda: shard.iloc[:-1].to_parquet(path),
        lambda: path.write_bytes(path.read_bytes()[:200]),
    ):
        damage()
        with pytest.raises(CorruptFileError, match="delete it"):
            sweep(HOST, TEXTS, configurations(), metric=METRIC, out=out, progress=False)


def test_a_mask_that_names_nothing_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MODULE, "run_cells", None)
    subset = grid({"v": direction(0)}, "steer", amounts=(1.0,), where=tokens("w1"))
    with pytest.raises(NoChangeError, match=r"text 1 \(2 of 5 texts\)"):
        sweep(HOST, TEXTS, subset, metric=METRIC, progress=False)
    with pytest.raises(DataError, match="position 6"):
        sweep(HOST, TEXTS, grid({"v": direction(0)}, "ablate", where=at(6)), metric=METRIC, progress=False)
    with pytest.raises(UnknownNameError, match=r"resid_post\.9"):
        sweep(HOST, TEXTS, grid({"v": direction(0, "resid_post.9")}, "ablate"), metric=METRIC, progress=False)


def test_numbers_that_are_none_are_refused() -> None:
    @dataclass(frozen=True)
    class Broken(Prefers):
        def value(self, reading: Reading) -> torch.Tensor:
            return reading.logits[:, 0] * torch.nan

    Broken.__qualname__ = "Broken"
    with pytest.raises(NonFiniteError, match="NaN"):
        sweep(HOST, TEXTS, configurations(), metric=Broken(1, 2), progress=False)


def test_a_grid_is_the_product_and_shares_its_axes() -> None:
    v, made = direction(0), []
    axes = {"v": v, "random": lambda seed: made.append(seed) or direction(seed)}
    swept = grid(axes, "steer", amounts=(1.0, 2.0), where=LAST, seeds=(1, 7))
    assert [one.name for one in swept[:3]] == [
        "v · steer 1 · last",
        "v · steer 1 · all",
        "v · steer 2 · last",
    ]
    assert len(swept) == 4 + 8 and len({one.fingerprint for one in swept}) == 12 and made == [1, 7]
    assert swept[0].plan[0].axis is swept[3].plan[0].axis is v
    assert (
        swept[0].plan[0].edit is swept[1].plan[0].edit and swept[0].plan[0].edit is not swept[2].plan[0].edit
    )
    assert (
        swept[-1].seed == 7 and swept[0].seed is None and swept[-1].name == "random · steer 2 · all · seed 7"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"verb": "patch"}, "unknown verb"),
        ({"axes": {}}, "0 axes"),
        ({"amounts": ()}, "0 amounts for steer"),
        ({"verb": "ablate"}, "1 amounts for ablate"),
        ({"amounts": (1.0, 1.0)}, "each once"),
        ({"amounts": (float("nan"),)}, "finite"),
        ({"seeds": (1,)}, "1 seeds for 0 drawn axes"),
        ({"axes": {"r": direction}}, "0 seeds for 1 drawn axes"),
    ],
)
def test_grids_that_mean_nothing_are_refused(arguments: dict[str, object], message: str) -> None:
    settings = {"axes": {"v": direction(0)}, "verb": "steer", "amounts": (1.0,)} | arguments
    with pytest.raises((DataError, UnknownNameError), match=message):
        grid(**settings)  # pyright: ignore


def test_configurations_that_mean_nothing_are_refused() -> None:
    v = direction(0)
    for name, plan in (("", [ablate(v)]), (CLEAN, [ablate(v)]), ("nothing", [])):
        with pytest.raises(DataError):
            Configuration(name, plan)
    twice = [Configuration("a", [ablate(v)]), Configuration("a", [steer(v, 1.0)])]
    with pytest.raises(DataError, match="two configurations are called 'a'"):
        sweep(HOST, TEXTS, twice, metric=METRIC, progress=False)
    with pytest.raises(DataError, match="no configuration"):
        sweep(HOST, TEXTS, [], metric=METRIC, progress=False)
    with pytest.raises(DataError, match="no text"):
        sweep(HOST, [], twice[:1], metric=METRIC, progress=False)


def test_a_metric_whose_content_cannot_be_told_is_refused() -> None:
    @dataclass(frozen=True)
    class WithFunction(Prefers):
        function: object = None

    WithFunction.__qualname__ = "WithFunction"
    with pytest.raises(DataError, match="lambda"):
        sweep(HOST, TEXTS, configurations(), metric=WithFunction(1, 2, lambda x: x), progress=False)
    assert content(WithFunction(1, 2, direction)) != content(WithFunction(1, 2, configurations))
    a, b = torch.zeros(3), torch.tensor([0.0, 0.0, 1.0])
    assert content({"x": a}) == content({"x": a.clone()}) != content({"x": b})
    assert content({"x": a.numpy()}) == content({"x": a})


def test_the_estimate_is_told_before_it_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = grid({f"v{i}": direction(i) for i in range(60)}, "steer", amounts=(1.0, 2.0, 3.0))
    eight = TextTrials(TEXTS, batch_rows=8)
    expected = estimate_sweep(HOST, eight, chosen, metric=METRIC)
    assert expected.n_cells == 181 * len(TEXTS) and expected.n_done == 0
    assert expected.seconds is not None and 0 < expected.seconds < 60
    assert "905 cells: about" in str(expected) and "kB of disk" in str(expected)
    sweep(HOST, eight, chosen, metric=METRIC, out=tmp_path / "out")
    assert "sweep of 905 cells" in capsys.readouterr().out
    on_disk = sum(path.stat().st_size for path in (tmp_path / "out").glob("*.parquet"))
    assert on_disk < expected.n_bytes < 6 * on_disk  # shards and table together, while it runs


def test_a_disk_that_is_too_small_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(OutputError, match="10 bytes are free"):
        sweep(HOST, TEXTS, configurations(), metric=METRIC, out=tmp_path / "out", progress=False)
