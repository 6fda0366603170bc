"""The metadata that every ``models.py`` hangs its tables on, with constraint names by convention.

``info={"belongs_to": …}`` on each table says how it would be distributed on Citus: ``subject`` (by
``subject_id``), ``reference`` (copied to every node), ``value`` (by the value it makes unique) or
``coordinator`` (log, replay guard, idempotency). A test reads rules R1 to R4 off this.
"""

from sqlalchemy import MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

SUBJECT = {"belongs_to": "subject"}
REFERENCE = {"belongs_to": "reference"}
VALUE = {"belongs_to": "value"}
COORDINATOR = {"belongs_to": "coordinator"}
