"""TITA (ICCV 2025)."""
