"""How a step changes the weights: one loss, FAMO, bilevel, latent regression or flow, instructions."""
