"""Observations, predictions, decisions, intents, levels, state and locks."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "observations",
        sa.Column("timestamp", sa.DateTime, primary_key=True),
        sa.Column("temp_c", sa.Float(53), nullable=False),
        sa.Column("feels_like_c", sa.Float(53), nullable=False),
        sa.Column("humidity_pct", sa.Float(53), nullable=False),
        sa.Column("windspeed_kmh", sa.Float(53), nullable=False),
        sa.Column("weather", sa.String(16), nullable=False),
        sa.Column("is_holiday", sa.Boolean, nullable=False),
        sa.Column("casual", sa.Float(53)),
        sa.Column("registered", sa.Float(53)),
        sa.Column("demand", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "predictions",
        sa.Column("request_id", sa.String(64), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("predicted_at", sa.DateTime, nullable=False),
        sa.Column("model_version", sa.String(64), nullable=False),
        sa.Column("timestamp", sa.DateTime, nullable=False),
        sa.Column("temp_c", sa.Float(53), nullable=False),
        sa.Column("feels_like_c", sa.Float(53), nullable=False),
        sa.Column("humidity_pct", sa.Float(53), nullable=False),
        sa.Column("windspeed_kmh", sa.Float(53), nullable=False),
        sa.Column("weather", sa.String(16), nullable=False),
        sa.Column("is_holiday", sa.Boolean, nullable=False),
        sa.Column("features_hash", sa.String(64), nullable=False),
        sa.Column("demand", sa.Float(53), nullable=False),
        sa.Column("lower_80", sa.Float(53), nullable=False),
        sa.Column("upper_80", sa.Float(53), nullable=False),
        sa.Column("lower_95", sa.Float(53), nullable=False),
        sa.Column("upper_95", sa.Float(53), nullable=False),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("degraded", sa.Boolean, nullable=False),
        sa.Column("level_age_hours", sa.Float(53)),
    )
    op.create_index("predictions_by_hour", "predictions", ["timestamp", "predicted_at"])
    op.create_index("predictions_by_time", "predictions", ["predicted_at"])
    op.create_table(
        "decisions",
        sa.Column("decision_id", sa.String(128), primary_key=True),
        sa.Column("decided_at", sa.DateTime, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("model_version", sa.String(64)),
        sa.Column("evidence", sa.Text, nullable=False),
        sa.Column("run_key", sa.String(255)),
        sa.Column("run_id", sa.String(255)),
        sa.Column("report_url", sa.Text),
    )
    op.create_index("ix_decisions_decided_at", "decisions", ["decided_at"])
    op.create_table(
        "intents",
        sa.Column("run_key", sa.String(255), primary_key=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("run_id", sa.String(255)),
        sa.Column("finished_at", sa.DateTime),
        sa.Column("outcome", sa.String(64)),
    )
    op.create_index("ix_intents_created_at", "intents", ["created_at"])
    op.create_table(
        "levels",
        sa.Column("model_version", sa.String(64), primary_key=True),
        sa.Column("forest", sa.String(16), primary_key=True),
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("level", sa.Float(53), nullable=False),
        sa.Column("as_of", sa.DateTime, nullable=False),
        sa.Column("labelled_hours", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_table(
        "state",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("revision", sa.Integer, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "locks",
        sa.Column("name", sa.String(255), primary_key=True),
        sa.Column("owner", sa.String(255), nullable=False),
        sa.Column("expires_at", sa.DateTime, nullable=False),
    )


def downgrade() -> None:
    for table in ("locks", "state", "levels", "intents", "decisions", "predictions", "observations"):
        op.drop_table(table)
