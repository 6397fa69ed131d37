"""Models outside PyTorch: a graph of the whole fusion, and what runs it."""
