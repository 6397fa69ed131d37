"""Bringing images of one scene over each other: between reading and the model, on the frames."""
