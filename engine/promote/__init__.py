"""Promote: the record of what was decided (ledger), the models (store), the way back (rollback).

names       which names may become paths or keys
stages      the stages a model can be in, and every allowed transition, in one table
chain       one row of the ledger and its place in the hash chain
tables      the SQL tables and their migrations
database    SQLite or PostgreSQL: connections, locks, transactions, one-line errors
entries     the rows and heads of one loop, as one transaction sees them
history     the rows that a process has read, what is large of them left in the ledger
lease       one process runs a loop at a time; a late write of the one before is refused
transition  one stage change: who was faster, what allows it, its rows, its heads
ledger      the append-only record with one compare-and-swap head a stage
place       where a store keeps its bytes; local: a folder, objects: a bucket (object_errors: what it says)
provenance  where a model comes from, as an in-toto statement
signing     who vouches for it
store       immutable, content-addressed artifacts
rollback    back to the champion before, and promotion by hand
audit       is all that was recorded still true
card        the model card, as JSON and as Markdown
gc          remove what no ledger mentions
"""
