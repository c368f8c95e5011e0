"""Intervals, tests and scores; every figure the project reports goes through here."""
