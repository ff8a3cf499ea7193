"""Recipes: read, checked, resolved."""

from .profiles import read_profile
from .reading import parse_recipe, read_recipe
from .record import Recipe, blamed_on
from .sources import read_input

__all__ = ["Recipe", "blamed_on", "parse_recipe", "read_input", "read_profile", "read_recipe"]
