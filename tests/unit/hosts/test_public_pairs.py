"""Every public pair's file, held to random twins of the models that it names."""

from __future__ import annotations

from functools import cache

import pytest
import torch

import reasonmech as rm
from reasonmech.errors import MismatchError
from reasonmech.hosts import ModelPair, pair_config, pair_names
from reasonmech.hosts.footprint import footprint_of
from reasonmech.paths import config_dir
from tests.public_twins import LAYOUTS, MODELS, twin_host

PUBLIC = [name for name in pair_names() if pair_config(name).base in MODELS]


@cache
def pair_of(name: str) -> ModelPair:
    """A public pair of twins; one for all tests, which change nothing in it."""
    return twins_of(name)


def twins_of(name: str, **changed: object) -> ModelPair:
    config = pair_config(name)
    hosts = {"base": twin_host(config.base), "thinking": twin_host(config.thinking)}
    return rm.load_pair(name, **(hosts | changed))  # type: ignore[arg-type]


def test_every_pair_whose_weights_are_on_the_hub_has_twins() -> None:
    shipped = sorted(
        path.stem for path in (config_dir() / "pairs").glob("*.yaml")
    )  # other tests register some
    here = ("organism:", "smollm2")
    on_the_hub = [name for name in shipped if not pair_config(name).base.startswith(here)]
    assert on_the_hub == PUBLIC and {"orz-7b", "qwq-32b", "adaptthink", "thinkless"} < set(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_pair_loads_reads_captures_and_steers_at_its_site(name: str) -> None:
    config, pair = pair_config(name), pair_of(name)
    assert config.steering_layer is not None
    layout = LAYOUTS[MODELS[config.thinking].layout]
    ends = [pair.thinking.tokenizer.convert_ids_to_tokens(token) for token in pair.thinking.eos_ids]
    assert set(ends) == set(layout.ends)
    assert (pair.think_tags is not None) == ("<think>" in layout.added)
    site, text = f"resid_post.{config.steering_layer}", "So 2 + 2 = 4. Wait, let me check."
    ids = pair.thinking.encode(text)
    bos = [pair.thinking.tokenizer.bos_token_id] if layout.bos else []
    assert ids[: len(bos)] == bos and ids.count(bos[0] if bos else -1) == len(bos)
    acts = rm.capture(pair.base, [text], [site], progress=False)
    direction = rm.Direction.along(torch.ones(pair.base.d_model), site)
    decode = rm.Decode(max_new_tokens=3)
    written = rm.generate(
        pair.base,
        [text],
        [rm.steer(direction, 4.0, where=rm.prompt(start=-1))],
        decode=decode,
        progress=False,
    )
    assert acts.at(site).shape[1] == pair.base.d_model and len(written[0].ids) > 0


@pytest.mark.parametrize("name", PUBLIC)
def test_what_a_pair_says_that_it_accepts_is_what_differs(name: str) -> None:
    differing = {difference.kind for difference in pair_of(name).differences} - {"chat_template"}
    accepted = set(pair_config(name).accept)
    # Open-Reasoner-Zero's files differ by version; a twin of one of them is not to decide
    assert differing == accepted or (name.startswith("orz") and differing < accepted)


def test_a_sibling_of_another_family_is_refused() -> None:
    with pytest.raises(MismatchError, match="layers"):
        twins_of("orz-7b", thinking=twin_host("Qwen/QwQ-32B"))
    with pytest.raises(MismatchError, match="added_tokens"):
        twins_of("orz-7b", thinking=twin_host("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"))


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_pair_says_what_it_needs_and_under_which_licence(name: str) -> None:
    config = pair_config(name)
    assert config.parameters is not None and config.licence


def test_a_footprint_is_weights_twice_and_every_step_reads_one_model() -> None:
    seven = footprint_of(7.0, problems=64, new_tokens=1000, batch_size=64)
    assert seven.weights_gb == 28 and seven.memory_gb == 35
    assert seven.hours == pytest.approx(1000 * 14e9 / 2e12 / 3600)
    assert footprint_of(7.0, problems=65, new_tokens=1000, batch_size=64).hours == pytest.approx(
        2 * seven.hours
    )
