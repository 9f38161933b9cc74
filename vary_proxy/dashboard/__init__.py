"""The dashboard: one page, served by the admin listener."""
