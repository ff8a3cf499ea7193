"""Sections of the report; each is None where there is nothing to say."""
