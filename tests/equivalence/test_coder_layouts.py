"""Coders of other people's layouts compute what their authors' formulas say."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import sae_lens  # noqa: TID251 - the other side of the equivalence
import torch
from safetensors.torch import save_file
from torch import Tensor

from reasonmech.coders import SAELensCoder, convert_coder, load_coder
from reasonmech.digest import hash_file
from reasonmech.errors import (
    CorruptFileError,
    MismatchError,
    NonFiniteError,
    OutputError,
    PickleRefusedError,
    UnknownNameError,
)
from reasonmech.hosts import Host
from reasonmech.testing import tiny_host

D_IN, D_SAE, K = 32, 64, 4
RANDOM = torch.Generator().manual_seed(0)
X = torch.randn(200, D_IN, generator=RANDOM) * 3 + 1
ENCODER = torch.randn(D_SAE, D_IN, generator=RANDOM)  # as nn.Linear has it
DECODER = torch.nn.functional.normalize(torch.randn(D_SAE, D_IN, generator=RANDOM), dim=-1)
B_ENC, B_DEC = torch.randn(D_SAE, generator=RANDOM), torch.randn(D_IN, generator=RANDOM)
THRESHOLD = torch.rand(D_SAE, generator=RANDOM) * 3


def topk(pre: Tensor) -> Tensor:
    values, indices = pre.relu().topk(K, dim=-1)
    return torch.zeros_like(pre).scatter_(-1, indices, values)


def sparsify(path: Path, **changes: object) -> Path:
    path.mkdir(parents=True)
    config = {
        "activation": "topk",
        "expansion_factor": 2,
        "normalize_decoder": True,
        "num_latents": 0,
        "k": K,
    }
    (path / "cfg.json").write_text(json.dumps(config | {"multi_topk": False, "d_in": D_IN} | changes))
    weights = {"encoder.weight": ENCODER, "encoder.bias": B_ENC, "W_dec": DECODER, "b_dec": B_DEC}
    save_file(weights, path / "sae.safetensors")
    (path.parent / "config.json").write_text(json.dumps({"model": "owner/tiny-llama-0", "ctx_len": 64}))
    return path


def test_a_local_coder_of_sparsify_is_its_own_formula(tmp_path: Path) -> None:
    path = sparsify(tmp_path / "run" / "layers.2")
    coder = load_coder(path, host=tiny_host())
    features = topk((X - B_DEC) @ ENCODER.T + B_ENC)
    assert (features != 0).sum(-1).float().mean() > 3
    torch.testing.assert_close(coder.encode(X), features, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(coder.decode(features), features @ DECODER + B_DEC, atol=1e-5, rtol=1e-5)
    assert isinstance(coder, SAELensCoder)
    assert (str(coder.site), coder.model_name, coder.model_hash) == (
        "resid_post.2",
        "owner/tiny-llama-0",
        None,
    )
    assert coder.record["source"]["sha256"] == hash_file(path / "sae.safetensors")
    coder.save(tmp_path / "again")
    assert load_coder(tmp_path / "again").weight_hash == coder.weight_hash
    assert str(load_coder(sparsify(tmp_path / "mlps" / "layers.1.mlp")).site) == "mlp_out.1"


def test_saelens_converter_of_that_layout_is_wrong(tmp_path: Path) -> None:
    """Why it is not used. When this fails, SAELens reads the layout, and our reader can go."""
    path = sparsify(tmp_path / "run" / "layers.2")
    converter = sae_lens.loading.pretrained_sae_loaders.sparsify_disk_loader
    config, state = converter(path)
    assert (
        config["apply_b_dec_to_input"] is False
    )  # normalize_decoder is True, and b_dec is subtracted all the same
    assert state["W_dec"].shape == (D_IN, D_SAE)  # SAELens' own is [d_sae, d_in]
    with pytest.raises(RuntimeError, match="size mismatch for W_dec"):
        sae_lens.SAE.load_from_disk(path, converter=converter)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transcode": True}, "transcode"),
        ({"skip_connection": True}, "skip"),
        ({"activation": "groupmax"}, "groupmax"),
    ],
)
def test_what_sparsify_has_beyond_topk_is_refused(
    changes: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(MismatchError, match=message):
        load_coder(sparsify(tmp_path / "run" / "layers.0", **changes))


def test_a_folder_that_names_no_site_is_refused_and_damage_is_named(tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match=r"'embed_tokens' names no site[\s\S]*layers\.N\.mlp"):
        load_coder(sparsify(tmp_path / "run" / "embed_tokens"))
    path = sparsify(tmp_path / "other" / "layers.0")
    save_file({"encoder.weight": ENCODER}, path / "sae.safetensors")
    with pytest.raises(CorruptFileError, match=r"encoder\.bias"):
        load_coder(path)
    for number, (changes, error, message) in enumerate(
        (
            ({"k": None}, CorruptFileError, "k = None"),
            ({"k": 10**6}, MismatchError, rf"k = {10**6}[\s\S]*1 \.\. {D_SAE}"),
        )
    ):
        with pytest.raises(error, match=message):
            load_coder(sparsify(tmp_path / f"k{number}" / "layers.0", **changes))
    path = sparsify(tmp_path / "list" / "layers.0")
    (path.parent / "config.json").write_text("[]")
    with pytest.raises(CorruptFileError, match=r"config\.json"):
        load_coder(path)
    (path / "cfg.json").write_text("[]")
    with pytest.raises(CorruptFileError, match=r"cfg\.json"):
        load_coder(path)


def test_a_tensor_of_sparsify_that_nobody_knows_is_not_dropped(tmp_path: Path) -> None:
    path = sparsify(tmp_path / "run" / "layers.0")
    weights = {"encoder.weight": ENCODER, "encoder.bias": B_ENC, "W_dec": DECODER, "b_dec": B_DEC}
    save_file(weights | {"W_skip": torch.zeros(D_IN, D_IN)}, path / "sae.safetensors")
    with pytest.raises(MismatchError, match="W_skip"):
        load_coder(path)


def test_a_coder_of_sparsify_is_read_from_its_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(sparsify(tmp_path / "run" / "layers.2"))
    assert str(load_coder(".", host=tiny_host()).site) == "resid_post.2"


def test_the_release_that_the_page_loads_is_listed() -> None:
    page = (Path(__file__).parents[2] / "docs" / "coders.md").read_text()
    release, _, sae_id = re.findall(r'load_coder\("([\w.-]+-scope-[^"]+)"', page)[0].partition("/")
    lookup = sae_lens.loading.pretrained_saes_directory.get_pretrained_saes_directory()
    assert sae_id in lookup[release].saes_map


Formula = Callable[[Tensor], Tensor]
FILES: dict[str, tuple[dict[str, object], dict[str, object], Formula]] = {
    "dictionary_learning AutoEncoderTopK": (
        {"encoder.weight": ENCODER, "encoder.bias": B_ENC, "decoder.weight": DECODER.T, "b_dec": B_DEC}
        | {"k": torch.tensor(K), "threshold": torch.tensor(-1.0)},
        {"k": K, "subtracts_b_dec": True},
        lambda x: topk((x - B_DEC) @ ENCODER.T + B_ENC),
    ),
    "dictionary_learning AutoEncoder": (
        {"encoder.weight": ENCODER, "encoder.bias": B_ENC, "decoder.weight": DECODER.T, "bias": B_DEC},
        {"subtracts_b_dec": True},
        lambda x: ((x - B_DEC) @ ENCODER.T + B_ENC).relu(),
    ),
    "dictionary_learning BatchTopKSAE": (
        {"encoder.weight": ENCODER, "encoder.bias": B_ENC, "decoder.weight": DECODER.T, "b_dec": B_DEC}
        | {"k": torch.tensor(K), "threshold": torch.tensor(2.5)},
        {"subtracts_b_dec": True},
        lambda x: (pre := (x - B_DEC) @ ENCODER.T + B_ENC) * (pre > 2.5),
    ),
    "dictionary_learning JumpReluAutoEncoder": (
        {"W_enc": ENCODER.T, "b_enc": B_ENC, "W_dec": DECODER, "b_dec": B_DEC, "threshold": THRESHOLD},
        {"subtracts_b_dec": False},
        lambda x: (pre := x @ ENCODER.T + B_ENC) * (pre > THRESHOLD),
    ),
    "Qwen-Scope": (
        {"W_enc": ENCODER, "b_enc": B_ENC, "W_dec": DECODER.T, "b_dec": B_DEC},
        {"k": K, "subtracts_b_dec": False},
        lambda x: topk(x @ ENCODER.T + B_ENC),
    ),
    "wrapped, with plain values beside": (
        {
            "state_dict": {
                "encoder_weight": ENCODER,
                "encoder_bias": B_ENC,
                "decoder_weight": DECODER,
                "b_dec": B_DEC,
            },
            "epoch": 3,
        },
        {"k": K, "subtracts_b_dec": True},
        lambda x: topk((x - B_DEC) @ ENCODER.T + B_ENC),
    ),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_pt_is_converted_once_to_its_authors_formula(kind: str, tmp_path: Path) -> None:
    content, settings, formula = FILES[kind]
    file = tmp_path / "ae.pt"
    torch.save(content, file)
    coder = convert_coder(
        file, tmp_path / "mine", site="resid_post.2", model="owner/tiny-llama-0", **settings
    )
    assert {p.name for p in (tmp_path / "mine").iterdir()} == {"cfg.json", "sae_weights.safetensors"}
    features = formula(X)
    assert 0 < (features != 0).float().mean() < 1
    torch.testing.assert_close(coder.encode(X), features, atol=1e-4, rtol=1e-5)
    torch.testing.assert_close(coder.decode(features), features @ DECODER + B_DEC, atol=1e-4, rtol=1e-5)
    again = load_coder(tmp_path / "mine", host=tiny_host())
    assert again.weight_hash == coder.weight_hash and str(again.site) == "resid_post.2"
    assert isinstance(again, SAELensCoder) and again.record["source"] == {
        "layout": "torch",
        "file": "ae.pt",
        "sha256": hash_file(file),
    }


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return exec, ("raise SystemExit",)


def test_a_pt_that_would_execute_code_is_refused_and_wrong_ones_say_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "ae.pt"
    about = {"site": "resid_post.2", "model": "m"}
    good = dict(FILES["Qwen-Scope"][0])

    def convert(content: object, **settings: object) -> None:
        torch.save(content, file)
        convert_coder(file, tmp_path / "mine", **about, **{"k": K, "subtracts_b_dec": False} | settings)

    with pytest.raises(PickleRefusedError, match="more than tensors"):
        convert(good | {"trainer": Evil()})
    with pytest.raises(MismatchError, match=r"lacks \['b_dec'\]"):
        convert({key: value for key, value in good.items() if key != "b_dec"})
    with pytest.raises(MismatchError, match="activation_mean"):
        convert(good | {"activation_mean": B_DEC})
    with pytest.raises(MismatchError, match="says k = 9, not 4"):
        convert(good | {"k": 9})
    for k in (0, D_SAE + 1):
        with pytest.raises(MismatchError, match=rf"k = {k}[\s\S]*1 \.\. {D_SAE}"):
            convert(good, k=k)
    for threshold in (
        {},
        {"threshold": torch.tensor(-1.0)},
    ):  # dictionary_learning's, of a TopK that never set it
        with pytest.raises(MismatchError, match=r"says k = 4[\s\S]*k=4"):
            convert(good | {"k": torch.tensor(K)} | threshold, k=None)
    for shapes in ({"b_enc": B_ENC[:, None]}, {"b_dec": torch.tensor(1.0)}):
        with pytest.raises(MismatchError, match=f"{next(iter(shapes))} has shape"):
            convert(good | shapes)
    with pytest.raises(MismatchError, match="threshold of"):
        convert(good | {"threshold": torch.zeros(5)}, k=None)
    with pytest.raises(MismatchError, match="W_enc of"):
        convert(good | {"W_enc": torch.zeros(7, 9)})
    with pytest.raises(NonFiniteError, match="b_enc"):
        convert(good | {"b_enc": B_ENC * torch.nan})
    with pytest.raises(MismatchError, match="no tensors"):
        convert([1, 2])
    with pytest.raises(MismatchError, match="as wide as its input"):
        convert(
            {"W_enc": torch.eye(4), "W_dec": torch.eye(4), "b_enc": torch.zeros(4), "b_dec": torch.zeros(4)}
        )
    file.write_bytes(b"no zip")
    with pytest.raises((CorruptFileError, PickleRefusedError), match=r"ae\.pt"):
        convert_coder(file, tmp_path / "mine", **about, subtracts_b_dec=True)
    assert not (tmp_path / "mine").exists()
    for place in (file, tmp_path):
        with pytest.raises(PickleRefusedError, match="convert_coder"):
            load_coder(place)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that stands for the Hub: `<repository>/<file>`."""

    def download(repo_id: str, filename: str, **_: object) -> str:
        path = tmp_path / "hub" / repo_id / filename
        if not path.exists():
            raise sae_lens.loading.pretrained_sae_loaders.EntryNotFoundError(f"no {filename}")
        return str(path)

    monkeypatch.setattr(sae_lens.loading.pretrained_sae_loaders, "hf_hub_download", download)
    return tmp_path / "hub"


def test_a_release_in_saelens_layout_loads_by_release_and_id(hub: Path, tmp_path: Path) -> None:
    from reasonmech.testing import tiny_coder

    lookup = sae_lens.loading.pretrained_saes_directory.get_pretrained_saes_directory()["gpt2-small-res-jb"]
    mine = tiny_coder(tiny_host())
    mine.save(tmp_path / "mine")
    folder = hub / lookup.repo_id / lookup.saes_map["blocks.1.hook_resid_pre"]
    folder.parent.mkdir(parents=True)
    shutil.copytree(tmp_path / "mine", folder)
    coder = load_coder("gpt2-small-res-jb/blocks.1.hook_resid_pre", host=tiny_host())
    assert coder.name == "gpt2-small-res-jb/blocks.1.hook_resid_pre"
    assert (coder.encode(X) != 0).any() and torch.equal(coder.encode(X), mine.encode(X))


def test_qwen_scope_loads_by_release_and_id_and_is_held_to_its_base(
    hub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layout of the published files; SAELens' table of widths is narrowed, so that they fit into a
    test."""
    release, d_sae = "qwen-scope-3-1.7b-base-w32k-l50", 32768
    base = "Qwen/Qwen3-1.7B-Base"
    monkeypatch.setitem(
        sae_lens.loading.pretrained_sae_loaders.QWEN_SCOPE_MODEL_INFO, "Qwen3-1.7B-Base", (base, D_IN)
    )
    lookup = sae_lens.loading.pretrained_saes_directory.get_pretrained_saes_directory()[release]
    (hub / lookup.repo_id).mkdir(parents=True)
    encoder = torch.randn(d_sae, D_IN, generator=RANDOM)
    weights = {"W_enc": encoder, "W_dec": encoder.T, "b_enc": torch.zeros(d_sae), "b_dec": B_DEC}
    torch.save(weights, hub / lookup.repo_id / "layer3.sae.pt")
    sae_id = next(key for key, file in lookup.saes_map.items() if file == "layer3.sae.pt")
    plain = tiny_host()
    coder = load_coder(f"{release}/{sae_id}", host=Host(plain.model, plain.tokenizer, name=base))
    assert isinstance(coder, SAELensCoder)
    assert (str(coder.site), coder.d_in, coder.d_sae) == ("resid_post.3", D_IN, d_sae)
    assert (coder.architecture, int(coder.sae.cfg.k), coder.model_name) == ("topk", 50, base)
    pre = X[:3] @ encoder.T  # b_dec is not subtracted
    values, indices = pre.topk(50, dim=-1)
    torch.testing.assert_close(coder.encode(X[:3]).gather(-1, indices), values, atol=1e-4, rtol=1e-5)
    with pytest.raises(
        MismatchError, match=r"trained on 'Qwen/Qwen3-1\.7B-Base', the host is 'Qwen/Qwen3-1\.7B'"
    ):
        load_coder(f"{release}/{sae_id}", host=Host(plain.model, plain.tokenizer, name="Qwen/Qwen3-1.7B"))


def test_what_cannot_be_downloaded_or_is_not_listed_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(repo_id: str, filename: str, **_: object) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr(sae_lens.loading.pretrained_sae_loaders, "hf_hub_download", offline)
    with pytest.raises(OutputError, match=r"cannot be downloaded: no network[\s\S]*give the directory"):
        load_coder("gpt2-small-res-jb/blocks.1.hook_resid_pre")
    with pytest.raises(UnknownNameError, match=r"blocks\.1\.hook_resid_pre"):
        load_coder("gpt2-small-res-jb/blocks.99.hook_resid_pre")
