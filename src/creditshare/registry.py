"""Imports every ``models.py``, so that the metadata is whole for migrations and tests."""

from creditshare.access import models as access
from creditshare.approvals import models as approvals
from creditshare.audit import models as audit
from creditshare.batches import models as batches
from creditshare.consents import models as consents
from creditshare.indebtedness import models as indebtedness
from creditshare.members import models as members
from creditshare.policy import models as policy
from creditshare.reciprocity import models as reciprocity
from creditshare.records import models as records
from creditshare.reports import models as reports
from creditshare.sandbox import models as sandbox
from creditshare.sessions import models as sessions
from creditshare.sharing import models as sharing
from creditshare.storage.metadata import metadata
from creditshare.subjects import models as subjects
from creditshare.warrants import models as warrants

__all__ = [
    "access",
    "approvals",
    "audit",
    "batches",
    "consents",
    "indebtedness",
    "members",
    "metadata",
    "policy",
    "reciprocity",
    "records",
    "reports",
    "sandbox",
    "sessions",
    "sharing",
    "subjects",
    "warrants",
]
