"""`python -m anyfuse.native`: compiles the kernels in place."""

from __future__ import annotations

import sys

from .build import main

if __name__ == "__main__":
    sys.exit(main())
