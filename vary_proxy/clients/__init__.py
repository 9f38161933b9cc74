"""What speaks to clients: listeners, connections, requests in and replies out."""
