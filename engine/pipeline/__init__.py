"""How well the pipeline itself runs: what spans windows, from the rows of the ledger alone, and its exposition.

moments.py what each window says; delays.py from drift to promotion, and from loss to recovery; money.py what it costs
and brings; lasting.py all of it together; openmetrics.py as text that Prometheus reads; serving.py over HTTP.
"""
