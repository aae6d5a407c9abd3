"""Predictions as numbers, for monitor, evaluate and train alike.

scores.py a metric; intervals.py its interval, and the paired difference of two models; agreement.py models that agree
on almost every row; student.py Student's t.
"""
