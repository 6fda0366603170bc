"""Erasures by two people: one operator asks, another approves, the eraser's own command carries it out."""
