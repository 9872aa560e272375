"""Sweeps: every cell of a grid of interventions, in shards that survive a kill."""
