"""How a film looks, whatever it shows: properties that are measured, compared between classes and moved."""
