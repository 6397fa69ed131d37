"""DiTFuse (arXiv 2512.07170)."""
