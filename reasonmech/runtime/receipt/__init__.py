"""What a plan really did in a run: counts while it runs, a replay for the KL, and the receipt of both."""
