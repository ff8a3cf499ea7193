"""Models fitted to a stack without labels; torch is imported where one is."""
