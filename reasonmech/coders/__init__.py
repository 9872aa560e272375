"""Sparse coders: dictionaries of features, read and written in SAELens' layout."""

from reasonmech.coders.coder import SparseCoder
from reasonmech.coders.hookname import hook_of_site, site_of_hook
from reasonmech.coders.load import check_belongs, load_coder
from reasonmech.coders.saelens import SAELensCoder
from reasonmech.coders.train import ActivationSource, CoderConfig, load_coder_config, train_coder

__all__ = [
    "ActivationSource",
    "check_belongs",
    "CoderConfig",
    "hook_of_site",
    "load_coder",
    "load_coder_config",
    "SAELensCoder",
    "site_of_hook",
    "SparseCoder",
    "train_coder",
]
