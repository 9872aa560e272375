"""A coder of one model from documentation that is installed: the same texts each time, and their sources."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import pytest

import reasonmech as rm
from reasonmech.coders import CoderConfig
from reasonmech.errors import DataError, OutputError
from reasonmech.experiments import documentation as read
from reasonmech.experiments import documentation_coder as trained
from reasonmech.experiments.documentation import LONGEST, SHORTEST, documentation
from reasonmech.experiments.documentation_coder import train_documentation_coder
from tests.layouts import layout_host

CONFIG = CoderConfig(architecture="topk", d_sae=64, k=4, steps=6, batch_size=128)
FEW = ("click", "typing-extensions", "no-such-package")


@pytest.fixture(autouse=True)
def few_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "PACKAGES", FEW)


def test_passages_are_the_same_each_time_and_say_where_they_are_from() -> None:
    texts, sources = documentation(12, seed=3)
    assert (texts, sources) == documentation(12, seed=3) and texts != documentation(12, seed=4).texts
    assert len(set(texts)) == 12 and all(SHORTEST <= len(text) <= LONGEST for text in texts)
    assert [(s.package, s.version, s.licence) for s in sources] == [
        ("click", version("click"), "BSD-3-Clause"),
        ("typing_extensions", version("typing-extensions"), "PSF-2.0"),
    ]
    assert sum(s.passages for s in sources) == 12 and sum(s.characters for s in sources) == sum(
        map(len, texts)
    )
    assert sources[0].sha256 != sources[1].sha256
    with pytest.raises(DataError, match="100000 passages of documentation"):
        documentation(100_000)


def test_a_coder_reads_passages_and_what_the_model_writes_and_names_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, out = layout_host("qwen2"), tmp_path / "coder"
    monkeypatch.setattr(trained, "CONTINUED", rm.Decode(temperature=1.0, max_new_tokens=8))
    coder = train_documentation_coder(host, CONFIG, site="resid_post.0", out=out, passages=3, progress=False)
    assert coder.d_sae == 64 and coder.model_hash == host.weight_hash
    record, texts = json.loads((out / "texts.json").read_text()), documentation(5).texts
    assert record["sha256"] == hashlib.sha256("\0".join(texts).encode()).hexdigest()
    assert (record["passages"], record["rollouts"]) == (3, 2) and len(record["sources"]) == 2
    # a model of 512 positions reads the beginning of longer passages
    assert all(len(host.encode(text)) > 512 for text in texts[:3])
    assert 3 * 480 < record["tokens_of_passages"] <= 3 * 512
    assert rm.load_coder(out, host=host).weight_hash == coder.weight_hash
    with pytest.raises(OutputError, match="exists"):
        train_documentation_coder(host, CONFIG, site="resid_post.0", out=out, passages=3, progress=False)
