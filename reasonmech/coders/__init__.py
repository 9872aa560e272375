"""Sparse coders: dictionaries of features, read and written in SAELens' layout."""

from reasonmech.coders.coder import SparseCoder, Trained, reconstruct
from reasonmech.coders.config import CoderConfig, load_coder_config
from reasonmech.coders.convert import convert_coder
from reasonmech.coders.curve import training_curve
from reasonmech.coders.hookname import hook_of_site, site_of_hook
from reasonmech.coders.load import check_belongs, load_coder
from reasonmech.coders.recipe import Recipe
from reasonmech.coders.saelens import SAELensCoder
from reasonmech.coders.sinks import Sinks, find_sinks, no_sinks
from reasonmech.coders.source import ActivationSource, TextSource
from reasonmech.coders.stream_record import StreamRecord
from reasonmech.coders.train import train_coder, train_coders

__all__ = [
    "ActivationSource",
    "check_belongs",
    "CoderConfig",
    "convert_coder",
    "hook_of_site",
    "load_coder",
    "load_coder_config",
    "reconstruct",
    "SAELensCoder",
    "site_of_hook",
    "SparseCoder",
    "train_coder",
    "train_coders",
    "training_curve",
    "find_sinks",
    "no_sinks",
    "Recipe",
    "Sinks",
    "StreamRecord",
    "TextSource",
    "Trained",
]
