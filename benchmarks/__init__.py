"""What the service costs, as ratios measured side by side in one run. ``make bench`` runs all; see ``__main__``."""
