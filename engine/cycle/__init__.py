"""One window after another: the sentence of the loop, and its words.

loop.py the sentence; steps.py, promotion.py and metering.py its words; conf.py what a person sets about it, setting.py
all that it is given; founding.py the windows that it begins with; past.py what the ledger says of the time before a
window, told.py what it keeps of a finished one; outside.py its clock, serving log and classes; maturity.py labels that
come late; risk.py which windows enter the champion's risk and decay; recalibration.py a monotone map behind the
champion's network; acting.py, telling.py and undoing.py actions carried out, told outside, taken back; replay.py a
decision made again from its recorded evidence; sweeps.py a sweep by hand, as it is told of.
"""
