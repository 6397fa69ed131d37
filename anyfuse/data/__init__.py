"""Training data: batches, synthetic pairs, prompts, tones."""
