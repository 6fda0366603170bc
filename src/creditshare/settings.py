"""The one settings object: read once at start, frozen, passed as an argument.

Every field can be set by an environment variable ``CREDITSHARE_<FIELD>`` or by the command line.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from creditshare.errors import ConfigurationError

Environment = Literal["sandbox", "production"]
Audience = Literal["anyone", "members"]


class Settings(BaseSettings):
    """Operator's settings. Units stand in the names; defaults suit a laptop."""

    model_config = SettingsConfigDict(env_prefix="CREDITSHARE_", frozen=True, extra="forbid")

    data: Path = Field(Path("creditshare-data"), description="Folder of keyring, tombstones and embedded database.")
    database_url: str | None = Field(None, description="postgresql+psycopg:// address; empty means embedded.")
    worker_database_url: str | None = Field(None, description="Address for the worker's role; default database_url.")
    owner_database_url: str | None = Field(None, description="Address for migrations; default database_url.")
    eraser_database_url: str | None = Field(None, description="Address for erasures; default database_url.")
    environment: Environment | None = Field(
        None, description="sandbox or production; default sandbox when embedded, production otherwise."
    )
    embedded_in_production: bool = Field(default=False, description="Run the embedded one in production all the same.")
    public_url: str | None = Field(None, description="The issuer: scheme://host[:port] as members reach the service.")
    keyring_file: Path | None = Field(None, description="Key file; default keyring.json in the data folder.")
    keyring_passphrase_file: Path | None = Field(None, description="File whose content seals the key file.")
    tombstones_file: Path | None = Field(None, description="Erasures and revocations; default beside the key file.")

    skew_s: int = Field(30, ge=10, le=60, description="Accepted clock difference of signed requests.")
    merge_delay_s: int = Field(60, ge=1, le=86_400, description="Promise: a leaf is in the log within this time.")
    log_readers: Audience | None = Field(
        None, description="Who may read the log: anyone, or members by a token; default anyone in a sandbox only."
    )
    witness_policy_file: Path | None = Field(
        None,
        description="Whom the log asks for cosignatures (C2SP tlog-policy); default witness-policy in the data folder.",
    )
    witness_poll_s: float = Field(
        5.0, ge=0.05, le=3_600, description="How often the newest checkpoint is sent to them."
    )
    timestamp_url: str | None = Field(
        None, description="The RFC 3161 authority that stamps checkpoints; published with them. Default none."
    )
    timestamp_certificates_file: Path | None = Field(
        None, description="The roots (PEM) that its tokens must lead to; needed with an authority."
    )
    timestamp_every_s: float = Field(3_600, ge=1, le=604_800, description="How often the newest one is stamped.")
    reports_every_s: float = Field(
        30.0, ge=0.05, le=86_400, description="How often the worker counts what changed for the reports."
    )
    reports_told_every_s: float = Field(
        86_400, ge=0, le=31_622_400, description="How often what changed since may be told in the reports."
    )
    sequencer_poll_ms: int = Field(200, ge=10, le=5_000)
    max_body_bytes: int = Field(262_144, ge=1_024, le=16_777_216, description="A larger body is not read.")
    max_batch_bytes: int = Field(268_435_456, ge=1_024, le=4_294_967_296, description="Size of a file of records.")
    # Shorter than a used request is remembered after its time (300 s): a file sent twice at once is taken in once.
    batch_time_limit_s: float = Field(240.0, ge=0.1, le=240, description="A file that takes longer is refused.")
    max_header_bytes: int = Field(32_768, ge=16_384, le=262_144, description="A larger header ends the connection.")
    header_time_limit_s: float = Field(10.0, ge=0.1, le=60, description="A header that takes longer, likewise.")
    body_time_limit_s: float = Field(10.0, ge=0.1, le=60, description="A body that takes longer is refused.")
    request_time_limit_s: float = Field(15.0, ge=0.5, le=60, description="No answer takes longer; later it is 503.")
    idle_connection_s: int = Field(15, ge=1, le=600, description="A connection without a request is closed.")
    max_connections: int = Field(900, ge=10, description="Connections of a worker process; more are answered 503.")
    max_in_flight: int = Field(128, ge=1, description="Members' requests that a worker process works on; more are 503.")
    member_in_flight: int = Field(64, ge=1, description="How many of them may be one member's; more are 429.")
    open_reads_in_flight: int = Field(32, ge=1, description="Requests without a signature, likewise; more are 503.")
    member_requests_per_s: int = Field(200, ge=1, description="A member's pace in a worker process; faster is 429.")
    member_burst_requests: int = Field(400, ge=1, description="What a member may send at once above that pace.")
    stranger_failures_per_minute: int = Field(
        120, ge=1, description="Unknown keys and wrong enrolments of one address in a worker process; more are 429."
    )
    key_table_poll_s: float = Field(0.5, gt=0, le=1.0, description="Fallback poll of the members' key table.")
    key_table_stale_s: float = Field(2.0, ge=1.0, le=2.0, description="An unconfirmed key table older than this → 503.")
    dek_cache_entries: int = Field(10_000, ge=0)
    dek_cache_s: float = Field(300.0, ge=0)
    traces: bool = Field(default=False, description="Send a span of each request to OTEL_EXPORTER_OTLP_ENDPOINT.")
    pool_size: int = Field(8, ge=1, le=100, description="Database connections per pool and worker process.")
    pool_wait_s: float = Field(2.0, gt=0, le=30, description="Nobody waits longer for one of them; then it is 503.")
    key_warning_days: tuple[int, ...] = Field(
        (60, 30, 7),
        min_length=1,
        description="So many days before a key ends it is warned of; a JSON list.",
    )
    evaluations_per_day: int = Field(2_000, ge=1, description="Default tokeniser budget of a member.")
    queries_per_day: int = Field(
        20_000, ge=1, le=1_000_000_000, description="Questions a member may ask a day, unless agreed otherwise."
    )
    reports_per_day: int = Field(
        20_000, ge=1, le=1_000_000_000, description="Defaults it may report a day, rows of files included."
    )

    @classmethod
    def read(cls, **given: Any) -> Self:
        """Return the settings of the environment, with those given; ``ConfigurationError`` names each that is wrong."""
        try:
            return cls(**given)
        except ValidationError as error:
            wrong = [f"CREDITSHARE_{'_'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
            raise ConfigurationError("; ".join(wrong)) from None

    @property
    def witness_policy_path(self) -> Path | None:
        """Where the witness policy is, if there is one."""
        default = self.data / "witness-policy"
        return self.witness_policy_file or (default if default.exists() else None)

    @property
    def embedded(self) -> bool:
        """Whether the service runs its own PostgreSQL in the data folder."""
        return self.database_url is None

    @property
    def mode(self) -> Environment:
        """The environment in force: an embedded database is a sandbox unless production is named."""
        return self.environment or ("sandbox" if self.embedded else "production")

    @property
    def log_audience(self) -> Audience:
        """Who may read the log: where members are few, volume and times say something."""
        return self.log_readers or ("anyone" if self.mode == "sandbox" else "members")

    @property
    def keyring_path(self) -> Path:
        """Where the key file lies."""
        return self.keyring_file or self.data / "keyring.json"

    @property
    def tombstones_path(self) -> Path:
        """Where erasures and revocations are kept outside the database."""
        return self.tombstones_file or self.keyring_path.with_name("tombstones.ndjson")
