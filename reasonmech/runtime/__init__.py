"""The loops that run models: forward passes, generation, capture, receipts."""

from reasonmech.receipt import Receipt, ReceiptLine
from reasonmech.rollout import Rollout, Rollouts
from reasonmech.runtime.activations.activations import Activations
from reasonmech.runtime.activations.capture import capture, estimate_capture
from reasonmech.runtime.activations.estimate import CaptureEstimate
from reasonmech.runtime.activations.join import joined
from reasonmech.runtime.activations.keep import Keep, TokenColumns, TopCodes
from reasonmech.runtime.activations.origin import Origin
from reasonmech.runtime.activations.shards import Shard
from reasonmech.runtime.activations.site_sinks import sinks_of
from reasonmech.runtime.coder_fit import FitReport, check_fit
from reasonmech.runtime.decoding.decode import Decode
from reasonmech.runtime.decoding.decoder import Decoder, DecoderState, RowInfo
from reasonmech.runtime.decoding.generate import generate
from reasonmech.runtime.decoding.host_decoder import HostDecoder
from reasonmech.runtime.decoding.prompts import as_read_by
from reasonmech.runtime.forward import ForwardResult, forward
from reasonmech.runtime.pass_rows import LabelledTexts
from reasonmech.runtime.replacements import mean_of, resampled

__all__ = [
    "Activations",
    "as_read_by",
    "capture",
    "check_fit",
    "Decode",
    "Decoder",
    "DecoderState",
    "CaptureEstimate",
    "estimate_capture",
    "FitReport",
    "forward",
    "ForwardResult",
    "generate",
    "HostDecoder",
    "Keep",
    "joined",
    "LabelledTexts",
    "mean_of",
    "Receipt",
    "ReceiptLine",
    "resampled",
    "RowInfo",
    "TokenColumns",
    "TopCodes",
    "Rollout",
    "Rollouts",
    "Origin",
    "Shard",
    "sinks_of",
]
