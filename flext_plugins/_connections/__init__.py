"""Open connections: which there are, how they open and close, what plugins get of them."""
