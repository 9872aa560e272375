"""OfHost: what a decoder of one host has from it."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from transformers import PreTrainedTokenizerBase

from reasonmech.hosts.host import Host


class OfHost(ABC):
    """What a decoder of one host has from it."""

    @property
    @abstractmethod
    def host(self) -> Host: ...

    @property
    def readers(self) -> tuple[Host, ...]:
        return (self.host,)

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self.host.tokenizer

    @property
    def eos_ids(self) -> tuple[int, ...]:
        return self.host.eos_ids

    @property
    def pad_id(self) -> int:
        return self.host.pad_id

    @property
    def device(self) -> torch.device:
        return self.host.device
