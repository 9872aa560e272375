"""pass_bytes: the memory that a pass cannot do without, worked out before it is run."""

from __future__ import annotations

from typing import Final

from reasonmech.hosts.host import Host

STREAMS: Final = 3  # of width d_model at once: the stream, what a norm made of it, what a half adds
WIDE: Final = 2  # of the width of a block's widest matrix at once
FLOAT: Final = 4  # bytes of a logit as it is read, beside the model's own


def pass_bytes(host: Host, rows: int, width: int, *, logits: int = 1, cached: int = 0) -> int:
    """Bytes that a pass over `rows` x `width` tokens takes at least, beyond the weights.

    Streams and the widest activations of one block, logits, keys and values. Attention's own working memory
    is left out: it depends on the kernel.

    Args:
        logits: last tokens of each row whose logits are computed.
        cached: tokens of each row whose keys and values are kept.
    """
    size = host.dtype.itemsize
    widest = max(max(matrix.shape) for matrix in host.layers[0].parameters() if matrix.dim() == 2)
    tokens = rows * width * size * (STREAMS * host.d_model + WIDE * widest)
    return tokens + rows * (logits * host.vocab_size * (size + FLOAT) + cached * kv_bytes(host))


def kv_bytes(host: Host) -> int:
    """Bytes of keys and values per token, all layers together."""
    settings = host.model.config.get_text_config().to_dict()
    heads = next(settings[key] for key in _HEADS if settings.get(key) is not None)
    of_query = next(settings[key] for key in _HEADS[1:] if settings.get(key) is not None)
    width = settings.get("head_dim") or host.d_model // of_query
    return 2 * host.n_layers * heads * width * host.dtype.itemsize


_HEADS: Final = ("num_key_value_heads", "num_attention_heads", "n_head")
