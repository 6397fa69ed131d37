"""Readers, one file a family: each opens a file and gives `Pages`. `sniff.py` has the table of formats."""
