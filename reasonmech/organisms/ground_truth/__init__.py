"""How a pair's truth is measured: splices, dials, forced onsets, slips; and the bounds that it must meet."""
