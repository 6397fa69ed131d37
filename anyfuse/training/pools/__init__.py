"""Training samples that are made once and kept on disk."""
