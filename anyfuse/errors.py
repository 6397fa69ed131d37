"""The one exception that means 'the user can fix this': its text is a single line with file, number and remedy."""

from __future__ import annotations


class FusionError(ValueError):
    """A mistake in the input of a user: the command line prints the text alone and exits with code 2."""
