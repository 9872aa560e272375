"""A pair is checked to be one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from reasonmech.errors import ConfigError, DuplicateNameError, MismatchError, UnknownNameError
from reasonmech.hosts import Host, ModelPair, load_pair, pair_config, pair_names, register_pair_path
from reasonmech.testing import tiny_host, tiny_tokenizer

SHIPPED = [
    *(
        "orz-0.5b",
        "orz-1.5b",
        "orz-7b",
        "orz-32b",
        "r1-14b",
        "r1-32b",
        "qwq-32b",
        "r1-llama8b",
        "r1-math1.5b",
    ),
    *("qwen3-1.7b", "qwen3-8b", "tiny-when"),
]


def with_tokenizer(host: Host, **special: str) -> Host:
    tokenizer = tiny_tokenizer()
    for name, token in special.items():
        setattr(tokenizer, name, token)
    return Host(host.model, tokenizer, name=host.name)


def saved(path: Path) -> Path:
    for side, seed in (("base", 0), ("thinking", 1)):
        host = tiny_host(seed=seed)
        host.model.save_pretrained(path / side)
        host.tokenizer.save_pretrained(path / side)
    return path


def test_siblings_make_a_pair() -> None:
    pair = ModelPair("p", tiny_host(), tiny_host(seed=1), "chain", 1)
    assert (pair.task, pair.steering_layer, pair.differences) == ("chain", 1, ())
    assert pair.think_tags == ("<think>", "</think>")


@pytest.mark.parametrize(
    ("thinking", "kind"),
    [
        (tiny_host(d_model=64), "width: 32 in base, 64 in thinking"),
        (tiny_host(n_layers=2), "layers: 4 in base, 2 in thinking"),
        (tiny_host(vocab_size=80), r"logits: 64 in base, 80 in thinking; vocabulary: 16 tokens"),
    ],
)
def test_other_sizes_are_refused_and_spelt_out(thinking: Host, kind: str) -> None:
    with pytest.raises(MismatchError, match=kind):
        ModelPair("p", tiny_host(), thinking, accept=("special_tokens", "added_tokens", "encoding"))


def test_the_same_words_with_other_ids_are_refused() -> None:
    swapped = tiny_tokenizer()
    vocabulary = {**swapped.get_vocab(), "w3": 10, "w4": 9}
    swapped.backend_tokenizer.model = type(swapped.backend_tokenizer.model)(vocabulary, unk_token="<unk>")
    with pytest.raises(
        MismatchError, match=r"vocabulary: 2 tokens have other ids \('w3' is 9 in base, 10 in thinking"
    ):
        ModelPair("p", tiny_host(), Host(tiny_host().model, swapped, name="swapped"))


def test_special_tokens_must_be_accepted_by_name() -> None:
    thinking = with_tokenizer(tiny_host(seed=1), eos_token="w5")
    with pytest.raises(
        MismatchError, match=r"eos '<eos>' in base, 'w5' in thinking[\s\S]*accept=\['special_tokens'"
    ):
        ModelPair("p", tiny_host(), thinking)
    pair = ModelPair("p", tiny_host(), thinking, accept=("special_tokens", "added_tokens"))
    assert any("eos" in difference.what for difference in pair.differences)
    with pytest.raises(MismatchError, match="cannot accept"):
        ModelPair("p", tiny_host(), thinking, accept=("everything",))


def test_a_steering_layer_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownNameError, match=r"resid_post\.3"):
        ModelPair("p", tiny_host(), tiny_host(seed=1), None, 4)


def test_every_shipped_pair_has_a_config_of_its_own_name() -> None:
    assert set(SHIPPED) <= set(pair_names())
    for name in SHIPPED:
        config = pair_config(name)
        assert config.name == name and config.base and config.thinking and config.steering_layer is not None
        assert config.source


def test_unknown_pairs_list_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"orz-0\.5b.*tiny-when"):
        load_pair("tiny-wen")
    with pytest.raises(UnknownNameError, match="both base= and thinking="):
        load_pair(base=tiny_host())


def test_a_pair_comes_from_a_directory_a_file_or_a_registered_name(tmp_path: Path) -> None:
    directory = saved(tmp_path / "mine")
    assert load_pair(directory).name == "mine"
    file = tmp_path / "my-pair.yaml"
    file.write_text(yaml.safe_dump({"name": "my-pair", "base": "mine/base", "thinking": "mine/thinking"}))
    pair = load_pair(file)
    assert pair.base.weight_hash != pair.thinking.weight_hash
    assert (pair.name, pair.base.name) == ("my-pair", "my-pair/base")
    name = f"registered-{tmp_path.name}"
    register_pair_path(name, file)
    assert name in pair_names() and load_pair(name).base.weight_hash == pair.base.weight_hash
    with pytest.raises(DuplicateNameError):
        register_pair_path(name, file)


def test_hosts_in_hand_replace_what_the_config_names(tmp_path: Path) -> None:
    base = tiny_host()
    pair = load_pair(saved(tmp_path / "mine"), base=base)
    assert pair.base is base
    assert load_pair(base=base, thinking=tiny_host(seed=1)).base is base


def test_a_misspelt_key_names_the_file_and_the_keys(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text("name: p\nbase: a\nthinkin: b\n")
    with pytest.raises(
        ConfigError, match=r"p\.yaml: thinking: Field required; thinkin: Extra.*[\s\S]*steering_layer"
    ):
        load_pair(file)
    file.write_text("name: [")
    with pytest.raises(ConfigError, match="not YAML"):
        load_pair(file)
