"""What the origin is asked on behalf of the cache, and how what comes reaches readers and store."""
