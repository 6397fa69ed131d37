"""Training: recipes, one loop, strategies, pools of samples, cards."""
