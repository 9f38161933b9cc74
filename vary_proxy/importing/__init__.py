"""Other people's configurations, made into one of ours: commented, and valid as it stands.

Each source has a module that reads it, trusting nothing, and writes YAML with ``writing``.
What cannot be said in our words is told twice, as a comment where it would have stood and as
a warning; nothing is dropped silently, and nothing is widened. ``origins`` turns the patterns
of others into those that our policies take.
"""
