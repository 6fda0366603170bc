"""Who may call a route, visible in its signature: ``AskingLenderWork``, ``OperatorWork``, ``MemberWork`` …

Each names a role and a kind of act; which states of a member allow which kind stands in ``members/standing.py``.
"""

from typing import Annotated, Final

from fastapi import Depends

from creditshare.api.work import Admits, Work

ANY_MEMBER: Final = Admits("any member with a live key, limited and suspended ones too", act="keep")
CORRECTING_LENDER: Final = Admits("lenders, limited and suspended ones too", "lender", act="correct")
"""Suspended lenders must be able to correct, withdraw and revoke."""
REPORTING_LENDER: Final = Admits("lenders that are active or limited", "lender", act="report")
ASKING_LENDER: Final = Admits("active lenders", "lender", act="ask")
ACTIVE_OPERATOR: Final = Admits("the operator's people", "operator", act="oversee")
REGULATOR: Final = Admits("regulators", "regulator", act="oversee")
CONFIRMER: Final = Admits("operators and regulators", "operator", also="regulator", act="oversee")
"""Whose people change something on pages."""
OVERSEER: Final = Admits("regulators about their own, operators about all", "regulator", also="operator", act="oversee")

PAGE_READER: Final = Admits("members that are active or limited", act="report")
"""Whoever is suspended has no pages; the signed API does all that is left to it."""

MemberWork = Annotated[Work, Depends(ANY_MEMBER)]
CorrectingLenderWork = Annotated[Work, Depends(CORRECTING_LENDER)]
ReportingLenderWork = Annotated[Work, Depends(REPORTING_LENDER)]
AskingLenderWork = Annotated[Work, Depends(ASKING_LENDER)]
PageReaderWork = Annotated[Work, Depends(PAGE_READER)]
OperatorWork = Annotated[Work, Depends(ACTIVE_OPERATOR)]
RegulatorWork = Annotated[Work, Depends(REGULATOR)]
ConfirmerWork = Annotated[Work, Depends(CONFIRMER)]
OverseerWork = Annotated[Work, Depends(OVERSEER)]
