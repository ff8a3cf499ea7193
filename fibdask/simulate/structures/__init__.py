"""Generators of structures whose truth is known, and the slices that milling makes of them."""
