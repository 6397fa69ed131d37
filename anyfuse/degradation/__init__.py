"""Degradations: simulate them, restore them classically, estimate them."""
