"""Stacks of images, colour, pyramids, filters, painting, seeded random draws: pure functions on tensors."""
