"""Stage 6, evaluate: how good is a model on held-out rows, with intervals, beside the champion on the same rows.

Every interval resamples the same rows with the same weights for both models, so that their difference is paired. Where
the rows come in clusters (flights of one day share its weather) whole clusters are resampled: by row the interval
would be several times too narrow. AUROC of independent rows takes DeLong's closed form instead.
"""
