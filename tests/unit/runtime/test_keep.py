"""What a capture keeps: chosen tokens, a coder's strongest features, further columns of the index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from reasonmech.behaviours import TraceColumns, label
from reasonmech.errors import CorruptFileError, DataError, MismatchError, NonFiniteError, UnknownNameError
from reasonmech.hosts.host import Host
from reasonmech.interventions import at, generated, labelled, prompt, tokens
from reasonmech.interventions.masks import Where
from reasonmech.labels import Labels
from reasonmech.problem import Problem
from reasonmech.rollout import Rollout
from reasonmech.runtime import Activations, Keep, TopCodes, capture
from reasonmech.testing import tiny_coder, tiny_host
from tests.unit.tasks.chain_text import CAREFUL, CARELESS, trace

SITE = "resid_post.2"


def rollout(number: int) -> Rollout:
    ids = tuple(10 + (7 * number + 3 * j) % 40 for j in range(3 + number % 5))
    n = len(ids)
    return Rollout(
        Problem(f"p/{number % 4}", "", ""),
        0,
        (6, 7, 8)[: 1 + number % 3],
        ids,
        (False,) * n,
        (False,) * n,
        "eos",
        "",
    )


ROLLOUTS = [rollout(i) for i in range(30)]
HOST = tiny_host()
WHOLE = capture(HOST, ROLLOUTS, [SITE], progress=False)


def assert_near(actual: torch.Tensor, expected: torch.Tensor) -> None:
    """Other texts beside a row round its last bit differently."""
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def parity(number: int, text: Rollout | str) -> Mapping[str, np.ndarray]:
    assert isinstance(text, Rollout)
    ids = np.array(text.all_ids)
    return {
        "odd": ids % 2 == 1,
        "third": np.array(["zero", "one", "two"], dtype=object)[ids % 3],
        "number": ids * 0 + number,
    }


MASKS: dict[str, tuple[Where, object]] = {
    "generated": (generated(), lambda f: f.generated),
    "last of the prompt": (
        prompt(start=-1),
        lambda f: f.position == f.groupby("rollout").generated.transform(lambda g: (~g).sum() - 1),
    ),
    "words": (tokens("w5", 21), lambda f: f.token.isin([HOST.tokenizer.convert_tokens_to_ids("w5"), 21])),
    "a column": (labelled("odd"), lambda f: f.token % 2 == 1),
    "a value of a column": (labelled("third=two") & ~prompt(), lambda f: (f.token % 3 == 2) & f.generated),
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("stored", [False, True])
def test_chosen_tokens_are_those_of_the_whole_capture(name: str, stored: bool, tmp_path: Path) -> None:
    where, wanted = MASKS[name]
    keep = Keep(where, columns=parity, shard_tokens=60)
    acts = capture(HOST, ROLLOUTS, [SITE], keep=keep, out=tmp_path / "s" if stored else None, progress=False)
    rows = np.flatnonzero(wanted(WHOLE.index))  # pyright: ignore[reportCallIssue]
    assert 0 < len(rows) < len(WHOLE) and (len(acts.shards) > 1) == stored
    index_columns = list(WHOLE.index.columns)
    assert acts.index[index_columns].equals(WHOLE.index.iloc[rows].reset_index(drop=True))
    assert_near(acts.at(SITE), WHOLE.at(SITE)[rows])
    assert (acts.index["odd"].to_numpy() == acts.index["token"].to_numpy() % 2).all()
    assert acts.index["number"].tolist() == acts.index["rollout"].tolist()
    chosen = WHOLE.index.iloc[rows[::3]]
    n = len(chosen)
    labels = Labels(
        "x",
        "recognises",
        chosen.rollout.to_numpy(),
        chosen.position.to_numpy(),
        np.ones(n, bool),
        np.array(["p"] * n),
    )
    assert_near(acts.rows(SITE, labels), WHOLE.rows(SITE, labels))
    left_out = WHOLE.index.drop(index=rows).iloc[0]
    one = Labels(
        "x",
        "recognises",
        np.array([left_out.rollout]),
        np.array([left_out.position]),
        np.ones(1, bool),
        np.array(["p"]),
    )
    with pytest.raises(DataError, match="not captured"):
        acts.rows(SITE, one)


def test_texts_of_which_nothing_is_kept_do_not_run() -> None:
    host, ran = tiny_host(), []
    host.layers[0].register_forward_pre_hook(lambda _, args: ran.append(len(args[0])))
    acts = capture(host, ROLLOUTS, [SITE], keep=Keep(labelled("number=7"), columns=parity), progress=False)
    assert sum(ran) == 1 and set(acts.index["rollout"]) == {7}


def test_what_is_not_kept_may_be_infinite() -> None:
    host = tiny_host()
    with torch.no_grad():
        host.model.get_input_embeddings().get_parameter("weight")[6] = (
            torch.nan
        )  # the first token of every prompt
    with pytest.raises(NonFiniteError, match="at position 0"):
        capture(host, ROLLOUTS, ["resid_pre.0"], progress=False)
    acts = capture(host, ROLLOUTS, ["resid_pre.0"], keep=Keep(~prompt(stop=1)), progress=False)
    assert len(acts) == len(WHOLE) - len(ROLLOUTS)


def test_a_choice_that_names_nothing_or_a_label_nobody_gives_is_refused(tmp_path: Path) -> None:
    for out in (None, tmp_path / "s"):
        with pytest.raises(DataError, match="no token of any text"):
            capture(HOST, ROLLOUTS, [SITE], keep=Keep(generated(start=99)), out=out, progress=False)
        with pytest.raises(UnknownNameError, match=r"label 'even'.*\n.*odd, third=\.\.\."):
            capture(
                HOST, ROLLOUTS, [SITE], keep=Keep(labelled("even"), columns=parity), out=out, progress=False
            )
    with pytest.raises(UnknownNameError, match="none registered"):
        capture(HOST, ROLLOUTS, [SITE], keep=Keep(labelled("odd")), progress=False)
    with pytest.raises(DataError, match="it has 4"):
        capture(HOST, ROLLOUTS, [SITE], keep=Keep(at(4)), progress=False)
    with pytest.raises(DataError, match="0 tokens per file"):
        Keep(shard_tokens=0)
    assert not (tmp_path / "s.partial").exists()


def columns_of(values: Mapping[str, np.ndarray]) -> Keep:
    return Keep(
        columns=lambda number, text: values if number == 1 else {"a": np.zeros(len(text.all_ids), dtype=bool)}
    )  # pyright: ignore[reportAttributeAccessIssue]


def test_columns_fit_their_texts(tmp_path: Path) -> None:
    n = len(ROLLOUTS[1].all_ids)
    for values, says in {
        "short": ({"a": np.zeros(n - 1, dtype=bool)}, f"{n - 1} values of type bool for {n} tokens"),
        "taken": ({"token": np.zeros(n, dtype=int)}, "column 'token'"),
        "floats": ({"a": np.zeros(n)}, "type float64"),
        "other names": (
            {"b": np.zeros(n, dtype=bool)},
            r"text 1 has columns b \(bool\), those before it a \(bool\)",
        ),
        "another type": (
            {"a": np.zeros(n, dtype=int)},
            r"text 1 has columns a \(int64\), those before it a \(bool\)",
        ),
        "no strings": ({"a": np.array([None] * n, dtype=object)}, r"column 'a' of text 1 .* type object"),
    }.values():
        for out in (None, tmp_path / "s"):
            with pytest.raises(DataError, match=says):
                capture(HOST, ROLLOUTS, [SITE], keep=columns_of(values), out=out, progress=False)


def test_a_column_may_be_a_list() -> None:
    keep = Keep(
        columns=lambda number, text: {"a": [True] * len(text.all_ids), "b": ["x"] * len(text.all_ids)}
    )  # pyright: ignore
    acts = capture(HOST, ROLLOUTS, [SITE], keep=keep, progress=False)
    assert acts.index["a"].to_numpy().all() and set(acts.index["b"]) == {"x"}


def test_a_shard_of_which_nothing_is_kept_is_a_shard(tmp_path: Path) -> None:
    keep = Keep(labelled("number=7"), columns=parity, shard_tokens=20)
    acts = capture(HOST, ROLLOUTS, [SITE], keep=keep, out=tmp_path / "s", progress=False)
    assert sum(shard.n_tokens == 0 for shard in acts.shards) > 1
    memory = capture(HOST, ROLLOUTS, [SITE], keep=keep, progress=False)
    assert len(memory) > 1 and acts.index.equals(memory.index)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "s" / "index"), memory.index)
    assert_near(acts.at(SITE), memory.at(SITE))
    assert sum(map(len, acts.stream(SITE, batch_size=3, seed=0))) == len(acts)


def test_another_column_is_another_capture(tmp_path: Path) -> None:
    """The plan knows what the index will say, values included."""
    for name, value in (("a", True), ("b", False)):
        keep = Keep(columns=lambda number, text, value=value: {"mark": np.full(len(text.all_ids), value)})  # pyright: ignore[reportAttributeAccessIssue]
        capture(HOST, ROLLOUTS, [SITE], keep=keep, out=tmp_path / name, progress=False)
    plans = [(tmp_path / name / "plan.json").read_text() for name in ("a", "b")]
    assert plans[0] != plans[1]


def test_the_traces_say_sentence_kind_opportunity_and_onset() -> None:
    traces = [trace(CAREFUL), trace(CARELESS)]
    columns = TraceColumns(traces, ("backtrack", "check"))
    acts = capture(
        chain_host(),
        [t.rollout for t in traces],
        ["resid_post.1"],
        keep=Keep(columns=columns),
        progress=False,
    )
    frame = acts.index
    for number, parsed in enumerate(traces):
        mine = frame.loc[frame["rollout"].to_numpy() == number]
        outside = mine.query("not generated")
        assert outside["sentence"].eq(-1).all() and outside["kind"].eq("").all()
        by_sentence = mine.query("sentence >= 0").groupby("sentence")
        assert by_sentence["kind"].first().tolist() == [s.kind for s in parsed.sentences]
        assert by_sentence.size().tolist() == [s.stop - s.start for s in parsed.sentences]
        starts = [len(parsed.rollout.prompt_ids) + s.start for s in parsed.sentences]
        assert [rows["position"].min() for _, rows in by_sentence] == starts
    for behaviour in ("backtrack", "check"):
        labels = label(traces, behaviour)
        rows = frame.iloc[acts.rows_of(labels).numpy()]
        assert rows["opportunity"].all()
        assert rows.loc[labels.positive, "onset"].eq(behaviour).all() and labels.positive.any()
        assert not rows.loc[~labels.positive, "onset"].eq(behaviour).any()
    read = Keep(labelled("opportunity"), columns=columns)
    kept = capture(chain_host(), [t.rollout for t in traces], ["resid_post.1"], keep=read, progress=False)
    assert torch.equal(
        kept.rows("resid_post.1", label(traces, "check")), acts.rows("resid_post.1", label(traces, "check"))
    )
    with pytest.raises(DataError, match="trace 0 of 2 is not that of text 0"):
        capture(chain_host(), [traces[1].rollout], ["resid_post.1"], keep=read, progress=False)


def chain_host() -> Host:
    return tiny_host(vocab_size=128)


CODER = tiny_coder(HOST, site=SITE)
DENSE = CODER.encode(WHOLE.at(SITE))


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("k", [3, 6])
def test_the_strongest_features_are_those_of_the_stream(k: int, stored: bool, tmp_path: Path) -> None:
    n_active = (DENSE != 0).sum(-1)
    assert (n_active == 4).all(), "3 cut every token, 6 leave room"
    keep = Keep(codes=TopCodes(CODER, k), shard_tokens=60)
    acts = capture(HOST, ROLLOUTS, [SITE], keep=keep, out=tmp_path / "s" if stored else None, progress=False)
    assert (acts.index["n_active"].to_numpy() == n_active.numpy()).all()
    which, values = acts.codes()
    assert which.shape == values.shape == (len(WHOLE), k)
    best = DENSE.abs().topk(k).values
    assert_near(values.abs(), best)
    assert torch.equal(which < 0, values == 0) and bool((which < 0).any()) == (k > 4)
    there = which >= 0
    again = DENSE.gather(-1, which.clamp(min=0).long())
    assert_near(values[there], again[there])
    row_numbers = torch.tensor([5, 3, 40])
    kept = torch.zeros_like(DENSE).scatter(-1, which.clamp(min=0).long(), values * there)
    assert torch.equal(acts.features([0, 7, 31], tokens=row_numbers), kept[row_numbers][:, [0, 7, 31]])
    assert torch.equal(acts.features(list(range(CODER.d_sae))), kept)


def test_k_that_holds_every_active_feature_loses_nothing(tmp_path: Path) -> None:
    keep = Keep(generated(), codes=TopCodes(CODER, CODER.d_sae))
    acts = capture(
        HOST, ROLLOUTS, [SITE], keep=replace(keep, dtype=torch.float16), out=tmp_path / "s", progress=False
    )
    assert acts.codes()[1].dtype == torch.float16
    expected = DENSE[torch.tensor(WHOLE.index["generated"].to_numpy(copy=True))]
    torch.testing.assert_close(
        acts.features(list(range(CODER.d_sae))).float(), expected, atol=1e-3, rtol=1e-3
    )


def test_no_feature_is_no_column() -> None:
    coder = tiny_coder(HOST, SITE)
    acts = capture(HOST, ROLLOUTS, [SITE], keep=Keep(codes=TopCodes(coder, 4)), progress=False)
    assert acts.features([]).shape == (len(acts), 0)


def test_features_are_never_taken_for_the_stream() -> None:
    acts = capture(HOST, ROLLOUTS, [SITE], keep=Keep(codes=TopCodes(CODER, 4)), progress=False)
    assert acts.codes_of is not None and acts.codes_of.coder_hash == CODER.weight_hash
    assert "4 features of" in repr(acts)
    for read in (
        lambda: acts.at(SITE),
        lambda: acts.take(SITE, torch.tensor([0])),
        lambda: acts.stream(SITE, batch_size=2, seed=0),
    ):
        with pytest.raises(MismatchError, match=r"the 4 strongest features of .* were kept"):
            read()
    with pytest.raises(MismatchError, match="hold the stream"):
        WHOLE.codes()
    with pytest.raises(DataError, match=r"0 \.\. "):
        acts.features([CODER.d_sae])


def test_a_coder_is_read_at_its_own_site_of_its_own_model() -> None:
    with pytest.raises(MismatchError, match=r"its own site: sites=\['resid_post\.2'\]"):
        capture(HOST, ROLLOUTS, ["resid_post.1"], keep=Keep(codes=TopCodes(CODER, 4)), progress=False)
    with pytest.raises(MismatchError):
        capture(tiny_host(seed=1), ROLLOUTS, [SITE], keep=Keep(codes=TopCodes(CODER, 4)), progress=False)
    with pytest.raises(DataError, match="strongest features"):
        TopCodes(CODER, CODER.d_sae + 1)


def test_a_damaged_store_of_features_is_found(tmp_path: Path) -> None:
    capture(HOST, ROLLOUTS, [SITE], keep=Keep(codes=TopCodes(CODER, 4)), out=tmp_path / "s", progress=False)
    file = tmp_path / "s" / "acts-00000.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(CorruptFileError, match="is damaged"):
        Activations.load(tmp_path / "s").codes()
