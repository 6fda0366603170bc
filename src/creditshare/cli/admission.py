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
    proposed = operators[0].call("POST", "/v1/members", data={"name": name, "role": role, "region": region})
    member_id = str(proposed["member_id"])
    approvals = f"/v1/members/{member_id}/approvals"
    approved = operators[1].call("POST", approvals, data={"action": "admission"}, if_match=proposed.version)
    if quotas:
        agree(operators, member_id, quotas, version=approved.version)
    identity = Identity(member_id, SigningKey.generate(), "demo")
    operators[0].acting_for(identity).enrol(str(approved["enrolment_code"]))
    write_private(file, identity.stored())
    return identity


def agree(
    operators: tuple[Client, Client], member_id: str, quotas: Mapping[str, int], *, version: str | None = None
) -> None:
    """Give a member other quotas of its day: proposed by one operator, approved by the other.

    ``version`` is that of the member as it is known; without it, it is read.
    """
    path = f"/v1/members/{member_id}"
    version = version or operators[0].call("GET", path).version
    proposed = operators[0].call("POST", f"{path}/quotas", data=dict(quotas), if_match=version)
    approval = {"action": "quotas", **quotas}
    operators[1].call("POST", f"{path}/approvals", data=approval, if_match=proposed.version)
