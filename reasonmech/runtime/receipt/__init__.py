"""The receipt of a run under a plan: counted while it runs, replayed for the KL, checked at the end."""
