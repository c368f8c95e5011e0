"""Intervals, tests and scores; every figure the project reports goes through here.

intervals, tests, randomisation: of numbers. metrics, scores, calibration: of a classifier. seeds: of random streams.
Names are taken from the modules: a stage that needs one of them does not come to depend on the others.
"""
