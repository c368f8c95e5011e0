"""Detectors of text behind one interface."""
