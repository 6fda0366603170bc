"""Admitting an institution through the public API, as two operators and the institution itself do it."""

from pathlib import Path

from creditshare.cli.options import write_private
from creditshare.client.bank import Client
from creditshare.client.core import Identity
from creditshare.crypto.jws import SigningKey


def admit(
    operators: tuple[Client, Client],
    name: str,
    role: str,
    region: str,
    file: Path,
    evaluations_per_day: int | None = None,
) -> Identity:
    """Admit one institution: proposed by one operator, approved by the other, its key enrolled by code and proof."""
    if file.exists():
        return Identity.from_file(file, sub="demo")
    proposed = operators[0].call("POST", "/v1/members", data={"name": name, "role": role, "region": region}).data
    member_id = str(proposed["member_id"])
    approved = operators[1].call("POST", f"/v1/members/{member_id}/approvals", data={"action": "admission"}).data
    if evaluations_per_day is not None:
        body = {"evaluations_per_day": evaluations_per_day}
        operators[0].call("POST", f"/v1/members/{member_id}/quotas", data=body)
        operators[1].call("POST", f"/v1/members/{member_id}/approvals", data={"action": "quotas", **body})
    identity = Identity(member_id, SigningKey.generate(), "demo")
    operators[0].acting_for(identity).enrol(str(approved["enrolment_code"]))
    write_private(file, identity.stored())
    return identity
