"""Replies made of what is stored, passed on, or known at the edge."""
