"""Neutral parts that several stages share: planes, grey bins, windows of slices, models."""
