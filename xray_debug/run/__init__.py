"""A run folder: its stages, fingerprints, tables, and the engine that works on many images."""
