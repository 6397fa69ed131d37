"""`python -m anyfuse.benchmark.degraded`: writes a recipe of degraded pairs."""

from .cases import main

main()
