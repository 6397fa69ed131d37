"""Pansharpening: the detail of a panchromatic image in every band of a multispectral image of lower resolution.

grid.py says where the pixels of one lie on the other, detail.py has the methods, bands.py reads images of many bands,
pair.py recognises a pair, run.py fuses one, wald.py makes pairs with a reference.
"""

from .detail import METHODS, pansharpen

__all__ = ["METHODS", "pansharpen"]
