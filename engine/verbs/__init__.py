"""The verbs of the command line: `tidegate VERB` calls the function of that name in one of these modules.

Verbs that run models: running.py loop, train, sweep, evaluate; judging.py gate; watching.py watch; backtesting.py
backtest. Verbs over the ledger: archive.py history, live, why, verify, card, promote, rollback, gc. Verbs that look:
desk.py validate, report, doctor; drift.py drift; alerts.py alerts; exposition.py metrics. review.py is resync,
submit.py submit; pages.py the HTML page of a loop, which several of them write.
"""
