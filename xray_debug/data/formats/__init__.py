"""Dataset formats: where images and labels lie, and the same layout written back."""
