"""UniFusion (CVPR 2026)."""
