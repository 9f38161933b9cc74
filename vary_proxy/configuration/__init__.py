"""The configuration, from YAML text to frozen settings; config.py puts the steps in order."""
