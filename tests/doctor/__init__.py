"""The doctor, in front of real servers: nginx with what is typically wrong, frameworks, proxies."""
