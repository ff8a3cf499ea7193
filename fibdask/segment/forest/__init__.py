"""Forests of decision trees, grown on a few painted slices."""
