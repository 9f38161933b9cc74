"""What speaks to origins: HTTP/1.1 over aiohttp's connections, and the layers around it."""
