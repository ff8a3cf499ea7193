"""Recipes: read, checked, resolved."""

from .reading import STAGES, TABLES, Recipe, blamed_on, call_stage, read_recipe

__all__ = ["STAGES", "TABLES", "Recipe", "blamed_on", "call_stage", "read_recipe"]
