"""Many sets of images through one Fuser."""
