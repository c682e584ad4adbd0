"""The tables of the records, as SQLAlchemy Core sees them; `bikeshare.adapters.migrations` creates them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

HEAD = "0001"
"""Newest migration; a test compares it with the scripts."""

metadata = MetaData()

observations = Table(
    "observations", metadata,
    Column("timestamp", DateTime, primary_key=True),
    Column("temp_c", Float(53), nullable=False),
    Column("feels_like_c", Float(53), nullable=False),
    Column("humidity_pct", Float(53), nullable=False),
    Column("windspeed_kmh", Float(53), nullable=False),
    Column("weather", String(16), nullable=False),
    Column("is_holiday", Boolean, nullable=False),
    Column("casual", Float(53)),
    Column("registered", Float(53)),
    Column("demand", BigInteger, nullable=False),
)

predictions = Table(
    "predictions", metadata,
    Column("request_id", String(64), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("predicted_at", DateTime, nullable=False),
    Column("model_version", String(64), nullable=False),
    Column("timestamp", DateTime, nullable=False),
    Column("temp_c", Float(53), nullable=False),
    Column("feels_like_c", Float(53), nullable=False),
    Column("humidity_pct", Float(53), nullable=False),
    Column("windspeed_kmh", Float(53), nullable=False),
    Column("weather", String(16), nullable=False),
    Column("is_holiday", Boolean, nullable=False),
    Column("features_hash", String(64), nullable=False),
    Column("demand", Float(53), nullable=False),
    Column("lower_80", Float(53), nullable=False),
    Column("upper_80", Float(53), nullable=False),
    Column("lower_95", Float(53), nullable=False),
    Column("upper_95", Float(53), nullable=False),
    Column("source", String(32), nullable=False),
    Column("degraded", Boolean, nullable=False),
    Column("level_age_hours", Float(53)),
    Index("predictions_by_hour", "timestamp", "predicted_at"),
    Index("predictions_by_time", "predicted_at"),
)

decisions = Table(
    "decisions", metadata,
    Column("decision_id", String(128), primary_key=True),
    Column("decided_at", DateTime, nullable=False, index=True),
    Column("state", String(32), nullable=False),
    Column("action", String(32), nullable=False),
    Column("reason", Text, nullable=False),
    Column("model_version", String(64)),
    Column("evidence", Text, nullable=False),
    Column("run_key", String(255)),
    Column("run_id", String(255)),
    Column("report_url", Text),
)

intents = Table(
    "intents", metadata,
    Column("run_key", String(255), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("created_at", DateTime, nullable=False, index=True),
    Column("run_id", String(255)),
    Column("finished_at", DateTime),
    Column("outcome", String(64)),
)

levels = Table(
    "levels", metadata,
    Column("model_version", String(64), primary_key=True),
    Column("forest", String(16), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("level", Float(53), nullable=False),
    Column("as_of", DateTime, nullable=False),
    Column("labelled_hours", Integer, nullable=False),
    Column("reason", Text, nullable=False),
)

state = Table(
    "state", metadata,
    Column("name", String(255), primary_key=True),
    Column("revision", Integer, nullable=False),
    Column("value", Text, nullable=False),
)

locks = Table(
    "locks", metadata,
    Column("name", String(255), primary_key=True),
    Column("owner", String(255), nullable=False),
    Column("expires_at", DateTime, nullable=False),
)
