"""A store on disk: what it verifies, what it refuses, what a full disk leaves, and how it is read for
training."""

from __future__ import annotations

import errno
import json
import re
import resource
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from reasonmech.disk import explain_failed_writes, format_bytes
from reasonmech.errors import CorruptFileError, DataError, MismatchError, NonFiniteError, OutputError
from reasonmech.hosts.host import Host
from reasonmech.interventions import prompt
from reasonmech.labels import Labels
from reasonmech.resumable import only_writer
from reasonmech.runtime import Activations, Keep, capture, estimate_capture, resampled
from reasonmech.runtime.activations import capture_to_store as store_module
from reasonmech.runtime.activations.shards import MemoryShard
from reasonmech.testing import tiny_host, tiny_tokenizer

SITE = "resid_post.2"
TEXTS = [" ".join(f"w{(7 * i + 3 * j) % 50}" for j in range(1 + (5 * i) % 13)) for i in range(60)]
SMALL = Keep(shard_tokens=100)
HALF = Keep(shard_tokens=100, dtype=torch.float16)


def stored(folder: Path, keep: Keep = SMALL) -> Activations:
    return capture(tiny_host(), TEXTS, [SITE], out=folder / "store", keep=keep, progress=False)


def test_a_store_is_readable_without_this_library(tmp_path: Path) -> None:
    acts = stored(tmp_path)
    names = sorted(
        path.relative_to(tmp_path / "store").as_posix() for path in (tmp_path / "store").rglob("*.*")
    )
    numbers = range(len(acts.shards))
    assert len(numbers) > 3
    files = [*(f"acts-{i:05d}.safetensors" for i in numbers), *(f"index/{i:05d}.parquet" for i in numbers)]
    assert names == sorted([*files, "plan.json", "record.json"])
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "store" / "index"), acts.index)


def test_the_same_capture_has_the_same_content_hash_and_another_has_not(tmp_path: Path) -> None:
    first, again = stored(tmp_path / "a"), stored(tmp_path / "b")
    assert first.content_hash == again.content_hash == Activations.load(tmp_path / "a" / "store").content_hash
    assert stored(tmp_path / "c", HALF).content_hash != first.content_hash


def flip(file: Path) -> None:
    """Change a byte in the middle of the data; the length stays."""
    content = bytearray(file.read_bytes())
    content[-len(content) // 4] ^= 0x10
    file.write_bytes(content)


def test_a_flipped_bit_is_found_when_its_shard_is_read_and_not_before(tmp_path: Path) -> None:
    whole = stored(tmp_path)
    expected, first = whole.at(SITE), whole.shards[0].n_tokens
    flip(tmp_path / "store" / "acts-00001.safetensors")
    acts = Activations.load(tmp_path / "store")
    assert torch.equal(acts.take(SITE, torch.arange(first)), expected[:first])
    for read in (
        lambda: acts.take(SITE, torch.tensor([0, first])),
        lambda: acts.at(SITE),
        lambda: [*acts.stream(SITE, batch_size=16, seed=0)],
        acts.verify,
    ):
        with pytest.raises(CorruptFileError, match=r"acts-00001.* is damaged"):
            read()


def test_a_flipped_bit_of_the_index_or_the_record_is_found(tmp_path: Path) -> None:
    stored(tmp_path)
    flip(tmp_path / "store" / "index" / "00002.parquet")
    acts = Activations.load(tmp_path / "store")
    with pytest.raises(CorruptFileError, match=r"00002\.parquet is damaged"):
        len(acts.index)
    record = tmp_path / "store" / "record.json"
    record.write_text(record.read_text().replace('"resid_post.2"', '"resid_post.1"', 1))
    with pytest.raises(CorruptFileError, match="not the one that was written"):
        Activations.load(tmp_path / "store")


def test_a_missing_shard_is_refused_on_loading(tmp_path: Path) -> None:
    stored(tmp_path)
    (tmp_path / "store" / "acts-00002.safetensors").unlink()
    with pytest.raises(CorruptFileError, match=r"acts-00002.* has 0 of \d+ bytes"):
        Activations.load(tmp_path / "store")


def test_a_store_of_another_model_or_tokenizer_is_refused(tmp_path: Path) -> None:
    stored(tmp_path)
    assert len(Activations.load(tmp_path / "store", host=tiny_host())) > 0
    with pytest.raises(MismatchError, match="those of 'tiny-llama-0'"):
        Activations.load(tmp_path / "store", host=tiny_host(seed=1))
    small = Host(tiny_host().model, tiny_tokenizer(60), name="small")
    assert small.weight_hash == tiny_host().weight_hash
    with pytest.raises(MismatchError, match="tokenizer of 'small' has changed"):
        Activations.load(tmp_path / "store", host=small)


def test_a_partial_store_of_another_capture_is_named_for_what_differs(tmp_path: Path) -> None:
    whole = stored(tmp_path)
    (tmp_path / "store").rename(tmp_path / "store.partial")
    plan = (tmp_path / "store.partial" / "plan.json").read_bytes()
    host = tiny_host()
    for expected, call in {
        "another model": lambda: capture(
            tiny_host(seed=1), TEXTS, [SITE], out=tmp_path / "store", keep=SMALL
        ),
        "another tokenizer": lambda: capture(
            Host(host.model, tiny_tokenizer(60), name="x"), TEXTS, [SITE], out=tmp_path / "store", keep=SMALL
        ),
        "other sites": lambda: capture(host, TEXTS, ["resid_post.1"], out=tmp_path / "store", keep=SMALL),
        "another dtype": lambda: stored(tmp_path, HALF),
        "other tokens": lambda: capture(
            host, TEXTS, [SITE], out=tmp_path / "store", keep=Keep(prompt(stop=1), shard_tokens=100)
        ),
        "other texts": lambda: capture(host, TEXTS[:-1], [SITE], out=tmp_path / "store", keep=SMALL),
        "shards of another size": lambda: capture(host, TEXTS, [SITE], out=tmp_path / "store"),
    }.items():
        with pytest.raises(OutputError, match=f"part of another capture .*{expected}"):
            call()
    assert (tmp_path / "store.partial" / "plan.json").read_bytes() == plan
    assert stored(tmp_path).content_hash == whole.content_hash  # its own capture goes on: nothing was changed


def interrupted(folder: Path) -> Path:
    """A partial store whose shards are all there."""
    stored(folder)
    partial = (folder / "store").rename(folder / "store.partial")
    (partial / "progress").mkdir()
    for number, entry in enumerate(json.loads((partial / "record.json").read_text())["shards"]):
        (partial / "progress" / f"{number:05d}.json").write_text(json.dumps(entry))
    return partial


def test_a_finished_shard_that_was_damaged_is_computed_again(tmp_path: Path) -> None:
    whole, partial = stored(tmp_path / "whole"), interrupted(tmp_path)
    flip(partial / "acts-00001.safetensors")
    host = tiny_host()
    with counted(host) as rows:
        again = capture(host, TEXTS, [SITE], out=tmp_path / "store", keep=SMALL, progress=False)
    again.verify()
    assert again.content_hash == whole.content_hash
    assert sum(rows) == again.shards[1].table(["rollout"]).to_pandas()["rollout"].nunique()


@contextmanager
def counted(host: Host) -> Iterator[list[int]]:
    """Rows of every pass of a host."""
    rows: list[int] = []
    first = host.layers[0]
    forward = type(first).forward

    @wraps(forward)
    def counting(module: torch.nn.Module, hidden: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        if module is first:
            rows.append(len(hidden))
        return forward(module, hidden, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:  # of the class: a hook on the host is another configuration
        patch.setattr(type(first), "forward", counting)
        yield rows


@contextmanager
def full_index(partial: Path) -> Iterator[None]:
    """Every write to the third part of the index fails as on a full disk."""
    blocked = partial / "index" / "00002.parquet.unfinished"
    write = pd.DataFrame.to_parquet

    def onto_full(table: pd.DataFrame, path: Path, **kwargs: Any) -> None:
        if path == blocked:
            path.symlink_to("/dev/full")
        write(table, path, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pd.DataFrame, "to_parquet", onto_full)
        yield


@contextmanager
def small_files(partial: Path) -> Iterator[None]:
    """No file may grow beyond 14 kB; the third shard's would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (14_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("full", [full_index, small_files])
def test_a_full_disk_leaves_what_is_written_and_says_what_is_missing(
    tmp_path: Path, full: Callable[[Path], AbstractContextManager[None]]
) -> None:
    texts, partial = [*TEXTS[:24], " ".join(["w3"] * 120), *TEXTS], tmp_path / "store.partial"

    def into(name: str, host: Host) -> Activations:
        return capture(host, texts, [SITE], out=tmp_path / name, keep=SMALL, progress=False)

    whole = into("whole", tiny_host())
    assert whole.shards[2].values()[SITE].nbytes > 14_000 > whole.shards[1].values()[SITE].nbytes
    partial.mkdir()
    (partial / "plan.json").write_bytes(
        (tmp_path / "whole" / "plan.json").read_bytes()
    )  # a kill right after it
    missing = format_bytes(sum(shard.values()[SITE].nbytes for shard in whole.shards[2:]))
    says = rf"the disk is full: 2 of {len(whole.shards)} shards .* stay valid; {missing} are missing"
    with full(partial), pytest.raises(OutputError, match=says):
        into("store", tiny_host())
    assert len(list((partial / "progress").iterdir())) == 2
    host = tiny_host()
    with counted(host) as rows:
        again = into("store", host)
    again.verify()
    assert again.content_hash == whole.content_hash
    done = sum(shard.table(["rollout"]).to_pandas()["rollout"].nunique() for shard in whole.shards[:2])
    assert done > 0 and sum(rows) == len(texts) - done


def test_another_failure_to_write_is_not_called_a_full_disk(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match=r"cannot write .*Permission denied"),
        explain_failed_writes(tmp_path, full="0 of 1 shards are written; 9 bytes are missing"),
    ):
        raise PermissionError(errno.EACCES, "Permission denied")
    full = SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
    with (
        pytest.raises(OutputError, match=r"0 of 1 shards .* 9 bytes are missing"),
        explain_failed_writes(tmp_path, full="0 of 1 shards are written; 9 bytes are missing"),
    ):
        raise full


def test_a_capture_that_cannot_fit_is_refused_before_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reasonmech.disk.free_bytes", lambda path: 1000)
    host = tiny_host()
    with counted(host) as rows, pytest.raises(OutputError, match=r"and 1 kB are free: .* kB are missing"):
        capture(host, TEXTS, [SITE], out=tmp_path / "store", progress=False)
    assert not rows
    monkeypatch.undo()
    fewer = Keep(prompt(stop=1))  # what the message advises is not refused as another capture
    assert len(capture(host, TEXTS, [SITE], keep=fewer, out=tmp_path / "store", progress=False)) == len(TEXTS)


def test_two_captures_into_one_store_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "store.partial").mkdir()
    with (
        only_writer(tmp_path / "store.partial"),
        pytest.raises(OutputError, match="another process is writing"),
    ):
        stored(tmp_path)
    assert len(stored(tmp_path)) == sum(len(text.split()) for text in TEXTS)


def test_a_store_that_another_process_finished_meanwhile_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = store_module._plan

    def late(*args: object) -> object:
        monkeypatch.setattr(store_module, "_plan", plan)
        stored(tmp_path)
        return plan(*args)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(store_module, "_plan", late)
    with pytest.raises(OutputError, match=r"exists already[\s\S]*Activations\.load\("):
        stored(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    Activations.load(tmp_path / "store").verify()


def test_what_a_power_cut_emptied_is_computed_again_or_named(tmp_path: Path) -> None:
    partial = interrupted(tmp_path)
    (partial / "progress" / "00001.json").write_text("")
    host = tiny_host()
    with counted(host) as rows:
        again = capture(host, TEXTS, [SITE], out=tmp_path / "store", keep=SMALL, progress=False)
    assert sum(rows) == again.shards[1].table(["rollout"]).to_pandas()["rollout"].nunique()
    partial = interrupted(tmp_path / "b")
    (partial / "plan.json").write_text("")
    with pytest.raises(CorruptFileError, match=r"plan\.json .*\n.*delete"):
        stored(tmp_path / "b")


def test_a_store_is_found_from_another_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(tmp_path)
    monkeypatch.chdir(tmp_path)
    acts = Activations.load("store")
    monkeypatch.chdir("/")
    assert acts.at(SITE).shape == (len(acts), 32)


def test_rows_that_are_not_there_are_refused_in_memory_and_in_a_store(tmp_path: Path) -> None:
    for acts in (stored(tmp_path), capture(tiny_host(), TEXTS, [SITE], progress=False)):
        for row_numbers in (torch.tensor([5, 5, 0]), np.array([5, 5, 0]), [5, 5, 0]):
            assert torch.equal(acts.take(SITE, row_numbers), acts.at(SITE)[[5, 5, 0]])  # pyright: ignore[reportArgumentType]
        for row in (-1, len(acts)):
            with pytest.raises(DataError, match=rf"row {row} .*\n.*0 \.\. {len(acts) - 1}"):
                acts.take(SITE, torch.tensor([0, row]))


def test_a_save_that_fails_promises_no_more_than_it_keeps(tmp_path: Path) -> None:
    acts = stored(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"the disk is full: [\s\S]*call again") as told:
            acts.save(tmp_path / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert "valid" not in str(told.value) and "goes on" not in str(told.value)
    acts.save(tmp_path / "copy")
    assert Activations.load(tmp_path / "copy").index.equals(acts.index)


def test_the_estimate_is_what_the_store_then_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = TEXTS * 20
    sites, keep = [SITE, "resid_post.0"], Keep(batch_size=16)
    told = estimate_capture(tiny_host(), texts, sites, out=tmp_path / "store", keep=keep)
    acts = capture(tiny_host(), texts, sites, out=tmp_path / "store", keep=keep)
    assert (told.n_texts, told.n_tokens, told.n_kept) == (len(texts), len(acts), len(acts))
    size = sum(path.stat().st_size for path in (tmp_path / "store").rglob("*.*"))
    assert 0.9 * size < told.n_bytes < 1.2 * size
    assert told.seconds is not None and told.seconds > 0 and told.free_bytes is not None
    shown = capsys.readouterr().err
    assert f"{format_bytes(told.n_bytes)} (" in shown and "token/s" in shown
    assert re.search(r"texts: about \d+ s, ", shown)
    kept = estimate_capture(tiny_host(), texts, [SITE], keep=Keep(prompt(stop=1)))
    assert (kept.n_tokens, kept.n_kept, kept.free_bytes) == (told.n_tokens, len(texts), None)


class Lazy(Sequence[str]):
    """Texts that are made when they are asked for, and know how often."""

    def __init__(self) -> None:
        self.read_indices: list[int] = []

    def __getitem__(self, index):
        self.read_indices.append(index)
        return TEXTS[index]

    def __len__(self) -> int:
        return len(TEXTS)


def test_counting_and_verifying_show_progress(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for progress in (True, False):
        interrupted(tmp_path / str(progress))
        capsys.readouterr()
        capture(
            tiny_host(), TEXTS, [SITE], out=tmp_path / str(progress) / "store", keep=SMALL, progress=progress
        )
        shown = capsys.readouterr().err
        assert ("count" in shown) == ("verify" in shown) == progress and bool(shown) == progress


def test_texts_may_be_read_from_a_disk(tmp_path: Path) -> None:
    texts = Lazy()
    acts = capture(tiny_host(), texts, [SITE], out=tmp_path / "a", keep=SMALL, progress=False)
    assert sorted(texts.read_indices) == sorted([*range(len(TEXTS))] * 2)
    assert acts.content_hash == stored(tmp_path).content_hash


@pytest.fixture(scope="module")
def big(tmp_path_factory: pytest.TempPathFactory) -> Activations:
    """6000 tokens in several shards, some runs of 1024 in each."""
    texts = [" ".join(f"w{(7 * i + j) % 50}" for j in range(20)) for i in range(300)]
    out = tmp_path_factory.mktemp("big") / "store"
    return capture(
        tiny_host(), texts, [SITE, "resid_pre.0"], out=out, keep=Keep(shard_tokens=2500), progress=False
    )


@pytest.mark.parametrize("buffer", [10, 1500, 10**6])
def test_a_stream_gives_every_token_once_an_epoch_in_another_order(big: Activations, buffer: int) -> None:
    assert len(big.shards) == 3
    batches = [*big.stream(SITE, batch_size=64, seed=0, epochs=2, buffer=buffer)]
    n = len(big)
    expected = ([64] * (n // 64) + [n % 64] * (n % 64 > 0)) * 2
    assert [len(batch) for batch in batches] == expected
    everything = torch.cat(batches)
    values = big.at(SITE)
    for epoch in (everything[:n], everything[n:]):
        assert not torch.equal(epoch, values)
        assert torch.equal(torch.sort(epoch.sum(-1)).values, torch.sort(values.sum(-1)).values)
    assert not torch.equal(everything[:n], everything[n:])
    again = torch.cat([*big.stream(SITE, batch_size=64, seed=0, buffer=buffer)])
    other = torch.cat([*big.stream(SITE, batch_size=64, seed=1, buffer=buffer)])
    assert torch.equal(again, everything[:n]) and not torch.equal(again, other)


def test_streams_of_two_sites_give_the_same_tokens(big: Activations) -> None:
    """The stream before the first block is the embedding: it says which token each row is."""
    token = torch.tensor(big.index["token"].to_numpy(copy=True))
    pairs = zip(
        big.stream(SITE, batch_size=50, seed=3, buffer=2000),
        big.stream("resid_pre.0", batch_size=50, seed=3, buffer=2000),
        strict=True,
    )
    embedding = tiny_host().model.get_input_embeddings().get_parameter("weight").detach()
    values = {row.numpy().tobytes(): int(t) for row, t in zip(big.at(SITE), token, strict=True)}
    for post, pre in pairs:
        told = [values[row.numpy().tobytes()] for row in post]
        assert torch.equal(embedding[torch.tensor(told)], pre)


def test_a_store_streams_as_memory_does(big: Activations) -> None:
    texts = [" ".join(f"w{(7 * i + j) % 50}" for j in range(20)) for i in range(300)]
    memory = capture(tiny_host(), texts, [SITE], progress=False)
    expected = list(memory.stream(SITE, batch_size=64, seed=0, epochs=2, buffer=1500))
    values = memory.at(SITE)
    torch.testing.assert_close(
        big.at(SITE), values, atol=1e-5, rtol=0
    )  # other texts beside a row round differently
    for one, other in zip(
        big.stream(SITE, batch_size=64, seed=0, epochs=2, buffer=1500), expected, strict=True
    ):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_a_stream_with_room_for_everything_is_a_uniform_shuffle(big: Activations) -> None:
    """Mean distance of neighbours in a random order of n is n / 3; tokens in order have distance 1."""
    index = {}
    for i, row in enumerate(big.at(SITE)):
        index.setdefault(row.numpy().tobytes(), i)
    order = [
        index[row.numpy().tobytes()]
        for b in big.stream(SITE, batch_size=64, seed=0, buffer=10**6)
        for row in b
    ]
    distance = np.abs(np.diff(order)).mean()
    largest = max(order)
    assert 0.3 * largest < distance < 0.37 * largest


def test_streams_refuse_nan_and_sizes_that_make_no_sense(big: Activations, tmp_path: Path) -> None:
    values = torch.randn(3000, 32)
    values[2100] = torch.nan
    memory = Activations(big.sites[:1], big.origin, (MemoryShard({SITE: values}, big.index.iloc[:3000]),))
    with pytest.raises(NonFiniteError, match="in row 2100"):
        list(memory.stream(SITE, batch_size=10, seed=0))
    with pytest.raises(NonFiniteError):
        memory.save(tmp_path / "nan")
    with pytest.raises(DataError, match="batch_size=0"):
        big.stream(SITE, batch_size=0, seed=0)


def test_a_store_that_is_loaded_can_be_saved(big: Activations, tmp_path: Path) -> None:
    big.save(tmp_path / "copy")
    copy = Activations.load(tmp_path / "copy")
    copy.verify()
    assert torch.equal(copy.at(SITE), big.at(SITE)) and copy.index.equals(big.index)


def test_a_store_of_the_first_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    save_file({SITE: torch.zeros(3, 4)}, tmp_path / "old" / "acts-00000.safetensors")
    (tmp_path / "old" / "record.json").write_text(json.dumps({"sites": [SITE], "tokens": [3]}))
    with pytest.raises(CorruptFileError, match="no activation store"):
        Activations.load(tmp_path / "old")


def labels(rollouts: list[int], positions: list[int]) -> Labels:
    n = len(rollouts)
    return Labels(
        "x", "recognises", np.array(rollouts), np.array(positions), np.ones(n, bool), np.array(["p"] * n)
    )


def test_labels_find_their_rows_across_shards(big: Activations) -> None:
    wanted = labels([299, 0, 150], [3, 19, 7])
    assert big.rows_of(wanted).tolist() == [299 * 20 + 3, 19, 150 * 20 + 7]
    with pytest.raises(
        DataError, match=r"label 1 of 'x' .* position 20 of rollout 4, .* and so do 1 more of 3"
    ):
        big.rows(SITE, labels([0, 4, 300], [0, 20, 0]))


def test_resampling_wants_texts_without_gaps() -> None:
    acts = capture(tiny_host(), TEXTS, [SITE], keep=Keep(~prompt(stop=1)), progress=False)
    with pytest.raises(DataError, match="not captured"):
        resampled(acts, SITE, seed=0)
