"""Admitting an institution through the public API, as two operators and the institution itself do it."""

from collections.abc import Mapping
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
    quotas: Mapping[str, int] | None = None,
) -> Identity:
    """Admit one institution: proposed by one operator, approved by the other, its key enrolled by code and proof.

    ``quotas`` of its day, where it needs other than the service's own, are agreed on by both operators as well.
    """
    if file.exists():
        return Identity.from_file(file, sub="demo")
    proposed = operators[0].call("POST", "/v1/members", data={"name": name, "role": role, "region": region}).data
    member_id = str(proposed["member_id"])
    approved = operators[1].call("POST", f"/v1/members/{member_id}/approvals", data={"action": "admission"}).data
    if quotas:
        operators[0].call("POST", f"/v1/members/{member_id}/quotas", data=dict(quotas))
        operators[1].call("POST", f"/v1/members/{member_id}/approvals", data={"action": "quotas", **quotas})
    identity = Identity(member_id, SigningKey.generate(), "demo")
    operators[0].acting_for(identity).enrol(str(approved["enrolment_code"]))
    write_private(file, identity.stored())
    return identity
