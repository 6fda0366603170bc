"""What waits for a second person in the demo, so that the operators' pages have tasks and the regulator's a warrant."""

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from creditshare.cli.demo.stage import step
from creditshare.cli.demo.story import Cast
from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.wire.instants import spell_instant

APPLICANT = {
    "name": "Lakeside Bank",
    "role": "lender",
    "region": "CN",
    "licence_no": "made-up-0042",
    "contacts": {"business": "desk@lakeside.example", "data_protection": "privacy@lakeside.example"},
}


def leave_tasks(cast: Cast, operators: tuple[Path, Path], records: Sequence[str]) -> None:
    """Have the second operator and the regulator ask for what the first operator may approve; once for each folder."""
    identity = Identity.from_file(operators[1], sub="demo")
    with Client(cast.url, identity) as second, Client(cast.url, cast.regulator) as regulator:
        if second.pages("/v1/proposals"):
            return
        applicant = second.call("POST", "/v1/members", data=APPLICANT).data["member_id"]
        note = {"note": "licence, owners and two references looked at"}
        second.call("POST", f"/v1/members/{applicant}/due-diligence", data=note, if_match="*")
        largest, *_, smallest = (f"/v1/members/{one.member_id}" for one in cast.lenders.values())
        second.call("POST", f"{largest}/quotas", data={"queries_per_day": 40_000}, if_match="*")
        second.call("POST", f"{smallest}/limitation", data={"reason": "no file of records for two months"})
        second.call("POST", f"{smallest}/proposals", data={"action": "lift_limitation"}, if_match="*")
        erasure = {
            "named": records[0],
            "legal_basis": "unlawful",
            "reason": "reported against a company of the same name",
        }
        second.call("POST", "/v1/erasures", data=erasure)
        warrant = {
            "named": records[1],
            "legal_basis": "statutory_inspection",
            "reference": "INSPECTION-17",
            "reason": "the same collateral at several lenders",
            "scopes": ["records", "inquiries"],
            "ends_at": spell_instant(regulator.business_time() + timedelta(days=14)),
        }
        regulator.call("POST", "/v1/warrants", data=warrant)
    step("the second operator and the regulator left five things to approve: see the operator's pages")
