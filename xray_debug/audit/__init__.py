"""What a model owes to text and other regions: interventions, controls, flags and the verdict."""
