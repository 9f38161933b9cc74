"""vary-proxy: a caching reverse proxy that repairs Vary."""

__version__ = "0.1.0"
