"""Step 2 of the cycle: is the window fit for use.

conf.py      ValidateConf: severities and tolerances
schema.py    Schema: what the reference looked like; inferred, edited by a person, widened by history, compared
text.py      the schema as YAML, which git keeps
facts.py     one pass over each column: what the checks need to know of it
columns.py   checks of one column against its schema
rows.py      checks of the table: ids, rows, time, groups
clustered.py how many independent rows clustered ones are worth
fresh.py     how old is the newest row, by a clock that is handed in
leakage.py   does a feature alone tell the label
window.py    validate: all checks of a window in one report
skew.py      the same rows seen by training and by serving
history.py   how often windows were blocked, and what that cost
"""
