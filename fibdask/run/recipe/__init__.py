"""Recipes: read, checked, resolved."""

from .reading import read_recipe
from .record import Recipe, blamed_on
from .sources import read_input

__all__ = ["Recipe", "blamed_on", "read_input", "read_recipe"]
