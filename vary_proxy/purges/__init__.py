"""Purges: where they apply, how they are done, and what they tell meanwhile."""
