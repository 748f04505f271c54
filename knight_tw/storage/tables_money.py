"""Tables of money: redemption codes, top-ups and subscriptions."""

from __future__ import annotations

from decimal import Decimal

import sqlalchemy as sa

from knight_tw.storage.columns import (
    Real,
    deleted_at,
    fixed,
    flag,
    i64,
    identity,
    metadata,
    real,
    short,
    text,
    text_64k,
    varchar,
)

redemptions = sa.Table(
    "redemptions",
    metadata,
    identity(),
    i64("user_id"),
    fixed("key", 32, unique=True, index=True),
    i64("status", 1),
    short("name", index=True),
    i64("quota", 100),
    i64("created_time"),
    i64("redeemed_time"),
    i64("used_user_id"),
    deleted_at(),
    i64("expired_time"),
)

top_ups = sa.Table(
    "top_ups",
    metadata,
    identity(),
    i64("user_id", index=True),
    i64("amount"),
    real("money"),
    varchar("trade_no", 255, unique=True),
    varchar("payment_method", 50),
    varchar("payment_provider", 50, ""),
    i64("create_time"),
    i64("complete_time"),
    text("status"),
    sa.Index("idx_top_ups_trade_no", "trade_no"),
)

subscription_plans = sa.Table(
    "subscription_plans",
    metadata,
    identity(),
    varchar("title", 128, nullable=False),
    varchar("subtitle", 255, ""),
    sa.Column(
        "price_amount",
        Real((10, 6)),
        nullable=False,
        default=Decimal(0),
        server_default=sa.text("0"),
    ),
    varchar("currency", 8, "USD", nullable=False),
    varchar("duration_unit", 16, "month", nullable=False),
    i64("duration_value", 1, nullable=False),
    i64("custom_seconds", 0, nullable=False),
    flag("enabled", True),
    i64("sort_order", 0),
    flag("allow_balance_pay", null=True),
    flag("allow_wallet_overflow", null=True),
    varchar("stripe_price_id", 128, ""),
    varchar("creem_product_id", 128, ""),
    varchar("waffo_pancake_product_id", 128, ""),
    i64("max_purchase_per_user", 0),
    varchar("upgrade_group", 64, ""),
    varchar("downgrade_group", 64, ""),
    i64("total_amount", 0, nullable=False),
    varchar("quota_reset_period", 16, "never"),
    i64("quota_reset_custom_seconds", 0),
    i64("created_at"),
    i64("updated_at"),
)

subscription_orders = sa.Table(
    "subscription_orders",
    metadata,
    identity(),
    i64("user_id", index=True),
    i64("plan_id", index=True),
    real("money"),
    varchar("trade_no", 255, unique=True),
    varchar("payment_method", 50),
    varchar("payment_provider", 50, ""),
    text("status"),
    i64("create_time"),
    i64("complete_time"),
    text_64k("provider_payload"),
    sa.Index("idx_subscription_orders_trade_no", "trade_no"),
)

user_subscriptions = sa.Table(
    "user_subscriptions",
    metadata,
    identity(),
    i64("user_id", index=True),
    i64("plan_id", index=True),
    i64("amount_total", 0, nullable=False),
    i64("amount_used", 0, nullable=False),
    i64("start_time"),
    i64("end_time", index=True),
    varchar("status", 32, index=True),
    varchar("source", 32, "order"),
    i64("last_reset_time", 0),
    i64("next_reset_time", 0, index=True),
    varchar("upgrade_group", 64, ""),
    varchar("prev_user_group", 64, ""),
    varchar("downgrade_group", 64, ""),
    flag("allow_wallet_overflow"),
    i64("created_at"),
    i64("updated_at"),
    sa.Index("idx_user_sub_active", "user_id", "status", "end_time"),
)

subscription_pre_consume_records = sa.Table(
    "subscription_pre_consume_records",
    metadata,
    identity(),
    varchar("request_id", 64, unique=True, index=True),
    i64("user_id", index=True),
    i64("user_subscription_id", index=True),
    i64("pre_consumed", 0, nullable=False),
    varchar("status", 32, index=True),
    i64("created_at"),
    i64("updated_at", index=True),
)
