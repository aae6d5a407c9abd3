"""The verbs of the command line: `tidegate VERB` calls the function of that name in the file of that name.

Some share a file: running.py has loop, train, sweep and evaluate, archive.py what reads or moves the ledger (history,
live, why, verify, card, promote, rollback, gc), desk.py validate, report and doctor. Their own have watch.py,
backtest.py, gate.py, drift.py, alerts.py, metrics.py, resync.py and submit.py. pages.py is the HTML page of a loop,
which several of them write.
"""
