"""Neutral parts that several stages share: bases, picked planes, grey bins, resampling."""
