"""Work that nobody waits for: sequencing the log, turning tallies into events, forgetting what has expired."""
