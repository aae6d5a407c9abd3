"""Predictions as numbers, for monitor, evaluate and train alike.

scores.py a metric; intervals.py its interval, and the paired difference of two models; firm.py widens it to what few
rows, skewed losses (studentized.py) and exact counts (exact.py) ask for; agreement.py models that agree on almost every
row; student.py Student's t.
"""
