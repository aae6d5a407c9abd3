"""Step 1 of the cycle: windows of rows from Parquet files, and the features a model eats.

conf.py      DataConf: which files, which columns, what the label is
tables.py    what every window table obeys: column types, missing values, fingerprint, split by time
ids.py       row ids of any kind, whole numbers or text, and the int64 keys that pair rows (xxh64.py: how text gets one)
classes.py   the classes of a label of words: learnt or listed, and a column of them as codes
sources.py   ParquetSource: the windows of a folder, local or S3, and their labels once they arrive
features.py  Encoder: standardised numbers and category codes, fitted on training rows only
"""
