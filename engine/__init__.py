"""Tidegate's engine: one cycle of continuous training, a module a stage (see loop.py)."""

__version__ = "0.1.0"
