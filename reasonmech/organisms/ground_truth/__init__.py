"""What a pair's truth is measured by: splices, forced onsets, dials, probes and adversarial texts."""
