"""A synthetic COVIDx with planted markers, whose counterfactuals are exact."""
