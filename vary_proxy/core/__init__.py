"""The pure core: decisions without I/O, clock or event loop."""
