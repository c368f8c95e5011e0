"""Human decisions on flagged cases, and what a reviewer is shown."""
