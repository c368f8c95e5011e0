"""Training of the bundled detector: drawn markers, real backgrounds, scoring."""
