"""Commands beside those that run stages, and what talks to a person; cli.py puts them together."""
