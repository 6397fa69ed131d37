"""Fusion of degraded pairs, scored against the fusion of the clean pairs."""
