"""Imported configurations: they load, they say what was left out, and they behave."""
