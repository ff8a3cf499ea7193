"""Figures of the report and the pictures that they show."""
