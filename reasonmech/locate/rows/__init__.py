"""Labelled token positions: the sample, a coder's codes at its rows, what was known before each."""
