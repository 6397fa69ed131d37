"""Does fusion help a machine: people and vehicles found in either image and in fused ones, against boxes drawn by
hand.
"""
