"""The report of a run: tables, figures, words, one HTML file."""
