"""A destination that does not exist, to show what adding one takes."""
