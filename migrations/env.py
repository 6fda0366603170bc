"""Alembic's environment: one connection given by the caller, one transaction for all migrations."""

from alembic import context

from creditshare.registry import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, compare_type=True, transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
