"""The SQL tables of the ledger, and the migrations that make them.

A schema that was released is never edited: a change is one more function at the end of MIGRATIONS.
"""

from __future__ import annotations

from collections.abc import Callable

import sqlalchemy as sa

from engine.errors import LedgerError

metadata = sa.MetaData()

# One row: which migrations have run.
schema = sa.Table("tidegate_schema", metadata, sa.Column("version", sa.Integer, primary_key=True))

# One row a loop: the end of its chain. Writers of a loop lock it first, so they take turns and cannot
# deadlock.
chains = sa.Table(
    "tidegate_chain",
    metadata,
    sa.Column("loop", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
)

# Append-only: triggers refuse UPDATE and DELETE.
rows = sa.Table(
    "tidegate_row",
    metadata,
    sa.Column("loop", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("id", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("window", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False),
    sa.UniqueConstraint("loop", "id", name="tidegate_row_id"),
    sa.Index("tidegate_row_kind", "loop", "kind", "seq"),
    sa.Index("tidegate_row_model", "loop", "model", "kind", "seq"),
)

# The only mutable truth: one row a stage that holds a model. `seq` is the row that made it so.
heads = sa.Table(
    "tidegate_head",
    metadata,
    sa.Column("loop", sa.Text, primary_key=True),
    sa.Column("stage", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),  # empty: nobody
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("since", sa.Text, nullable=False),
)
# One row a loop: which process runs it (lease.py). `beat` counts its signs of life; `holder` is empty once it ended.
leases = sa.Table(
    "tidegate_lease",
    metadata,
    sa.Column("loop", sa.Text, primary_key=True),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("beat", sa.BigInteger, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("since", sa.Text, nullable=False),
    sa.Column("seen", sa.Text, nullable=False),
)
# A backstop below the code: the database itself cannot hold one model in two of these stages.
sa.Index(
    "tidegate_head_model",
    heads.c.loop,
    heads.c.model,
    unique=True,
    sqlite_where=heads.c.model != "",
    postgresql_where=heads.c.model != "",
)

_LOCK = 7_215_403_118  # advisory lock of the migrations: any constant that is ours alone

_REFUSE_SQLITE = """
CREATE TRIGGER tidegate_row_{verb} BEFORE {verb} ON tidegate_row
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END
"""
_REFUSE_POSTGRESQL = (
    """
CREATE FUNCTION tidegate_refuse() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$
""",
    """
CREATE TRIGGER tidegate_row_fixed BEFORE UPDATE OR DELETE OR TRUNCATE ON tidegate_row
FOR EACH STATEMENT EXECUTE FUNCTION tidegate_refuse()
""",
)


def _first(connection: sa.Connection) -> None:
    metadata.create_all(connection, tables=[schema, chains, rows, heads], checkfirst=False)
    if connection.dialect.name == "sqlite":
        statements: tuple[str, ...] = tuple(_REFUSE_SQLITE.format(verb=v) for v in ("UPDATE", "DELETE"))
    else:
        statements = _REFUSE_POSTGRESQL
    for statement in statements:
        connection.exec_driver_sql(statement)
    connection.execute(schema.insert().values(version=0))


def _second(connection: sa.Connection) -> None:
    metadata.create_all(connection, tables=[leases], checkfirst=False)


MIGRATIONS: tuple[Callable[[sa.Connection], None], ...] = (_first, _second)


def version(connection: sa.Connection) -> int:
    """Migrations that have run, 0 in an empty database. LedgerError where the schema is newer than we."""
    if not sa.inspect(connection).has_table(schema.name):
        return 0
    found = connection.execute(sa.select(sa.func.max(schema.c.version))).scalar()
    if found is None or found > len(MIGRATIONS):
        raise LedgerError(
            f"ledger: schema {found} is unknown to this program, which knows up to {len(MIGRATIONS)}"
            " - use the newer version of tidegate that wrote it"
        )
    return int(found)


def migrate(connection: sa.Connection) -> None:
    """Bring the schema up to date inside a writing transaction; many processes may do so at once."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    done = version(connection)
    for number in range(done, len(MIGRATIONS)):
        MIGRATIONS[number](connection)
        connection.execute(schema.update().values(version=number + 1))
