"""What is measured of this project: behaviours beside others (`compare`), and costs (`speed`)."""
