"""A coder of a pair's base, made by one call, goes on where a kill interrupted it and is the same in the
end."""

from __future__ import annotations

from pathlib import Path

import pytest

from reasonmech.coders import CoderConfig
from reasonmech.errors import OutputError, ReasonmechError
from reasonmech.experiments import coder_job, pair_coder
from reasonmech.experiments.pair_coder import train_pair_coder
from reasonmech.organisms import load_pair

CONFIG = CoderConfig(architecture="topk", d_sae=64, k=4, steps=6, batch_size=128, checkpoint_every=2)
SITE = "resid_post.1"


class Killed(Exception):
    """Stands for kill -9."""


def killed(*_: object, **__: object) -> None:
    raise Killed


def test_a_killed_training_goes_on_and_makes_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = load_pair("tiny-when")
    whole = train_pair_coder(pair, CONFIG, site=SITE, out=tmp_path / "whole", problems=6, progress=False)
    out, work = tmp_path / "coder", tmp_path / "coder.work"
    for stage in ("capture", "train_coders"):  # each call gets one stage further
        with monkeypatch.context() as patched:
            patched.setattr(coder_job, stage, killed)
            with pytest.raises(Killed):
                train_pair_coder(pair, CONFIG, site=SITE, out=out, problems=6, progress=False)
        assert work.is_dir() and not out.exists()
    with pytest.raises(OutputError, match="another training"):
        train_pair_coder(pair, CONFIG, site="resid_post.2", out=out, problems=6, progress=False)
    with monkeypatch.context() as patched:
        patched.setattr(pair_coder, "generate", killed)
        patched.setattr(coder_job, "capture", killed)
        resumed = train_pair_coder(pair, CONFIG, site=SITE, out=out, problems=6, progress=False)
    assert resumed.weight_hash == whole.weight_hash and resumed.model_hash == pair.base.weight_hash
    assert not work.exists() and (out / "cfg.json").is_file()
    with pytest.raises(OutputError, match="exists"):
        train_pair_coder(pair, CONFIG, site=SITE, out=out, problems=6, progress=False)


@pytest.mark.parametrize("problems", [0, -3, True, "4"])
def test_nothing_is_written_before_the_arguments_are_checked(problems: int, tmp_path: Path) -> None:
    pair = load_pair("tiny-when")
    with pytest.raises(ReasonmechError):
        train_pair_coder(pair, CONFIG, site=SITE, out=tmp_path / "c", problems=problems, progress=False)
    assert not list(tmp_path.iterdir())
