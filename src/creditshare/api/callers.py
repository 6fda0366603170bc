"""Who may call a route, visible in its signature: ``LenderWork``, ``OperatorWork``, ``MemberWork`` …"""

from typing import Annotated, Final

from fastapi import Depends

from creditshare.api.work import Admits, Work

ANY_MEMBER: Final = Admits("any member with a live key, suspended or not", suspended=True)
ACTIVE_LENDER: Final = Admits("active lenders", "lender")
CORRECTING_LENDER: Final = Admits("lenders, suspended ones too", "lender", suspended=True)
"""Suspended lenders must be able to correct, withdraw and revoke."""
ACTIVE_OPERATOR: Final = Admits("the operator's people", "operator")

MemberWork = Annotated[Work, Depends(ANY_MEMBER)]
LenderWork = Annotated[Work, Depends(ACTIVE_LENDER)]
CorrectingLenderWork = Annotated[Work, Depends(CORRECTING_LENDER)]
OperatorWork = Annotated[Work, Depends(ACTIVE_OPERATOR)]
