"""Benchmark: fuse, score, time, and compare only what is comparable."""
