"""The executable definition: NumPy in float64 and Python integers, written for reading, not for speed."""
