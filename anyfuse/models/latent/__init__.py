"""What MMAIF and DiTFuse share: codec, positions, flow, detail path, LoRA."""
