"""Settings: their shape, files and variables, secrets, and what is wrong with them."""
