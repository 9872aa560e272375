"""A damaged coder directory loads as the coder that it was, or not at all; never as another one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from reasonmech.coders import SAELensCoder, load_coder
from reasonmech.errors import CorruptFileError, MismatchError, NonFiniteError, ReasonmechError
from reasonmech.testing import tiny_coder, tiny_host
from tests.json_mutations import OTHERS, damages

HOST = tiny_host()
CODER = tiny_coder(HOST, d_sae=16, k=4)
X = torch.randn(50, 32, generator=torch.Generator().manual_seed(0))
with TemporaryDirectory() as _directory:
    CODER.save(Path(_directory) / "c")
    CONFIG = json.loads((Path(_directory) / "c" / "cfg.json").read_text())
    TENSORS = load_file(Path(_directory) / "c" / "sae_weights.safetensors")
CONFIGS = {
    "topk": CONFIG,
    "standard": {
        key: value for key, value in CONFIG.items() if key not in ("k", "rescale_acts_by_decoder_norm")
    }
    | {"architecture": "standard", "apply_b_dec_to_input": False, "normalize_activations": "layer_norm"},
}


def write(directory: Path, text: str | bytes, tensors: dict[str, torch.Tensor] = TENSORS) -> Path:
    directory.mkdir(exist_ok=True, parents=True)
    (directory / "cfg.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    save_file(tensors, directory / "sae_weights.safetensors")
    return directory


def check_same(path: Path, right: SAELensCoder) -> None:
    """The same coder, or a refusal in three parts; with a host and without."""
    try:
        coder = load_coder(path)
        assert isinstance(coder, SAELensCoder)
        assert coder.site == right.site and coder.stream.centred == right.stream.centred
        codes = coder.encode(X)
        assert torch.equal(codes, right.encode(X))
        assert torch.equal(coder.decode(codes), right.decode(right.encode(X)))
        assert coder.weight_hash == right.weight_hash
        assert coder.model_hash in (None, right.model_hash)
        load_coder(path, host=HOST, trained_on=HOST.name)
    except ReasonmechError as error:
        assert error.happened and (error.allowed or error.do)


@pytest.mark.parametrize("architecture", CONFIGS)
@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_settings_never_make_another_coder(architecture: str, data: st.DataObject) -> None:
    damage = data.draw(damages(CONFIGS[architecture]))
    with TemporaryDirectory() as directory:
        right = load_coder(write(Path(directory) / "right", json.dumps(CONFIGS[architecture])))
        assert isinstance(right, SAELensCoder)
        check_same(write(Path(directory) / "c", damage.text), right)


@pytest.mark.parametrize("key", ["architecture", "k", "d_sae", "apply_b_dec_to_input", "dtype"])
def test_a_key_that_is_there_twice_is_refused(key: str, tmp_path: Path) -> None:
    text = json.dumps(CONFIG)
    for again in (json.dumps(CONFIG[key]), "8"):
        write(tmp_path / "c", text[:-1] + f', "{key}": {again}}}')
        with pytest.raises(CorruptFileError, match=rf"cfg\.json is not JSON: the key '{key}' is there twice"):
            load_coder(tmp_path / "c")


@pytest.mark.parametrize("key", ["model_hash", "model_identity", "curve", "sinks", "rows", "site"])
@pytest.mark.parametrize(
    "value", [other for other in OTHERS if other is not None], ids=lambda value: repr(value)[:20]
)
def test_a_record_is_of_its_types(key: str, value: Any, tmp_path: Path) -> None:
    metadata = CONFIG["metadata"]
    record = metadata["reasonmech"] | {key: value}
    write(tmp_path / "c", json.dumps(CONFIG | {"metadata": metadata | {"reasonmech": record}}))
    same_kind = {"model_hash": str, "curve": dict, "sinks": dict}.get(key)
    if same_kind is not None and type(value) is same_kind:
        load_coder(tmp_path / "c")
        return
    refusal = "an integer of 401 digits" if value == 10**400 else rf"cfg\.json say.*{key}"
    with pytest.raises(CorruptFileError, match=refusal):
        load_coder(tmp_path / "c")


@pytest.mark.parametrize(
    ("config", "error", "what"),
    [
        (CONFIGS["standard"] | {"k": 4}, CorruptFileError, "'standard' and k = the integer 4"),
        (CONFIGS["standard"] | {"activation_fn": "tanh-relu"}, CorruptFileError, "activation_fn"),
        (CONFIGS["standard"] | {"activation_fn_str": "topk"}, CorruptFileError, "activation_fn_str"),
        (CONFIGS["standard"] | {"residual_threshold": 0.1}, CorruptFileError, "residual_threshold"),
        (CONFIG | {"activation_fn": "relu"}, CorruptFileError, "activation_fn"),
        (CONFIG | {"architecture": "temporal"}, MismatchError, "temporal"),
        (CONFIG | {"architecture": "skip_transcoder"}, MismatchError, "skip_transcoder"),
        (CONFIG | {"architecture": ["topk"]}, CorruptFileError, "architecture"),
        (
            CONFIG | {"metadata": CONFIG["metadata"] | {"hook_name": 3}},
            CorruptFileError,
            "hook_name = the integer 3",
        ),
        (
            CONFIG | {"metadata": CONFIG["metadata"] | {"hook_name": "blocks.2.hook_out"}},
            CorruptFileError,
            "site",
        ),
        (CONFIG | {"metadata": CONFIG["metadata"] | {"to_dict": 3}}, CorruptFileError, "to_dict"),
        (CONFIG | {"metadata": CONFIG["metadata"] | {"__class__": 3}}, CorruptFileError, "__class__"),
        (CONFIG | {"metadata": [1]}, CorruptFileError, "metadata"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    config: dict[str, Any], error: type[ReasonmechError], what: str, tmp_path: Path
) -> None:
    if "site" in what:
        config["metadata"]["reasonmech"] = config["metadata"]["reasonmech"] | {"site": "resid_post.1"}
    with pytest.raises(error, match=what):
        load_coder(write(tmp_path / "c", json.dumps(config)))


def test_a_jumprelu_that_was_a_batch_topk_keeps_its_k(tmp_path: Path) -> None:
    config = CONFIGS["standard"] | {"architecture": "jumprelu", "k": 4}
    tensors = TENSORS | {"threshold": torch.full((16,), 0.1)}
    assert load_coder(write(tmp_path / "c", json.dumps(config), tensors)).d_sae == 16


@pytest.mark.parametrize("deep", [150, 5000, 200_000])
@pytest.mark.parametrize(("before", "after"), [('{"a":', "}"), ("[", "]")])
def test_endless_nesting_is_refused(deep: int, before: str, after: str, tmp_path: Path) -> None:
    nested = f'"deep": {before * deep}1{after * deep}'
    write(tmp_path / "c", json.dumps(CONFIG)[:-1] + f", {nested}}}")
    with pytest.raises(CorruptFileError, match="nested more than 100 deep"):
        load_coder(tmp_path / "c")


def test_encodings(tmp_path: Path) -> None:
    text = json.dumps(CONFIG)
    assert torch.equal(
        load_coder(write(tmp_path / "bom", text.encode("utf-8-sig"))).encode(X), CODER.encode(X)
    )
    for encoding in ("utf-16", "utf-32", "utf-16-le"):
        with pytest.raises(CorruptFileError, match=r"cfg\.json is not JSON"):
            load_coder(write(tmp_path / "c", text.encode(encoding)))
    for text in ("", "null", "3", "[]", "{", "\x00", '{"k": 4,}'):
        with pytest.raises(CorruptFileError, match=r"cfg\.json"):
            load_coder(write(tmp_path / "c", text))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_of_another_float_are_read_in_the_dtype_of_the_settings(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    tensors = {name: tensor.to(dtype) for name, tensor in TENSORS.items()}
    coder = load_coder(write(tmp_path / "c", json.dumps(CONFIG), tensors))
    assert isinstance(coder, SAELensCoder) and coder.dtype == torch.float32
    for name, tensor in coder.sae.state_dict().items():
        assert torch.equal(tensor, tensors[name].float())


W = TENSORS["W_enc"]


@pytest.mark.parametrize(
    ("tensors", "error", "what"),
    [
        (TENSORS | {"W_enc": W.to(torch.int8)}, CorruptFileError, "W_enc of .*has dtype I8"),
        (TENSORS | {"W_enc": W.to(torch.float8_e4m3fn)}, CorruptFileError, "W_enc of .*has dtype F8"),
        (TENSORS | {"W_enc": W[:, :8].contiguous()}, CorruptFileError, "W_enc of .*d_sae = 16"),
        (TENSORS | {"W_enc": W.T.contiguous()}, CorruptFileError, "W_enc of .*shape"),
        (TENSORS | {"extra": W.clone()}, CorruptFileError, "extra"),
        (TENSORS | {"threshold": torch.ones(16)}, CorruptFileError, "threshold"),
        (TENSORS | {"scaling_factor": torch.full((16,), 2.0)}, CorruptFileError, "[sS]caling"),
        ({name: TENSORS[name] for name in ("W_enc", "W_dec", "b_dec")}, CorruptFileError, "b_enc"),
        (TENSORS | {"b_enc": torch.full((16,), float("nan"))}, NonFiniteError, "b_enc"),
        (TENSORS | {"b_dec": torch.full((32,), 1e300, dtype=torch.float64)}, NonFiniteError, "b_dec"),
    ],
)
def test_tensors_are_those_of_the_settings(
    tensors: dict[str, torch.Tensor], error: type[ReasonmechError], what: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=what):
        load_coder(write(tmp_path / "c", json.dumps(CONFIG), tensors))


def test_weights_in_several_files_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "c", json.dumps(CONFIG))
    shutil.move(path / "sae_weights.safetensors", path / "sae_weights-00001-of-00002.safetensors")
    (path / "sae_weights.safetensors.index.json").write_text("{}")
    with pytest.raises(CorruptFileError, match="several files") as error:
        load_coder(path)
    assert "one file" in error.value.do


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_damaged_settings_of_sparsify_never_make_another_coder(data: st.DataObject) -> None:
    config = {
        "activation": "topk",
        "k": 4,
        "d_in": 32,
        "num_latents": 16,
        "normalize_decoder": True,
        "signed": False,
    }
    tensors = {
        "encoder.weight": TENSORS["W_enc"].T.contiguous(),
        "encoder.bias": TENSORS["b_enc"],
        "W_dec": TENSORS["W_dec"],
        "b_dec": TENSORS["b_dec"],
    }

    def written(directory: Path, text: str) -> Path:
        path = directory / "layers.1"
        path.mkdir(parents=True)
        (path / "cfg.json").write_text(text)
        save_file(tensors, path / "sae.safetensors")
        return path

    damage = data.draw(damages(config))
    with TemporaryDirectory() as directory:
        right = load_coder(written(Path(directory) / "right", json.dumps(config)))
        assert isinstance(right, SAELensCoder)
        check_same(written(Path(directory) / "c", damage.text), right)


@pytest.mark.parametrize("name", ["encoder.bias", "b_dec", "W_dec"])
@pytest.mark.parametrize(
    "tensor", [torch.tensor(1.0), torch.ones(2, 2, 2), torch.ones(16, dtype=torch.int64)]
)
def test_tensors_of_sparsify_are_matrices_and_vectors(
    name: str, tensor: torch.Tensor, tmp_path: Path
) -> None:
    tensors = {
        "encoder.weight": TENSORS["W_enc"].T.contiguous(),
        "encoder.bias": TENSORS["b_enc"],
        "W_dec": TENSORS["W_dec"],
        "b_dec": TENSORS["b_dec"],
    }
    path = tmp_path / "layers.1"
    path.mkdir()
    (path / "cfg.json").write_text('{"k": 4}')
    save_file(tensors | {name: tensor}, path / "sae.safetensors")
    with pytest.raises(MismatchError, match=r"layers\.1"):
        load_coder(path)
