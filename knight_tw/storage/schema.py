"""Every table of the program, and `ensure`, which completes a database to them.

The tables are those of the data model, sections 2 and 3, column for column: the
originals may open the same database before and after us. Import this module, not the
`tables_*` ones.
"""

from __future__ import annotations

from knight_tw.storage.columns import metadata
from knight_tw.storage.completion import SchemaRefused, ensure
from knight_tw.storage.tables_accounts import (
    auth_flows,
    authz_roles,
    casbin_rule,
    checkins,
    custom_oauth_providers,
    external_identity_claims,
    passkey_credentials,
    two_fa_backup_codes,
    two_fas,
    user_oauth_bindings,
    user_sessions,
    users,
)
from knight_tw.storage.tables_knight import (
    LATENCY_BOUNDS,
    LATENCY_COLUMNS,
    TTFT_COLUMNS,
    knight_changes,
    knight_channel_minutes,
    knight_holds,
    knight_journal,
    knight_leases,
    knight_meta,
    knight_option_history,
    knight_orders,
    knight_prefs,
    knight_usage,
)
from knight_tw.storage.tables_money import (
    redemptions,
    subscription_orders,
    subscription_plans,
    subscription_pre_consume_records,
    top_ups,
    user_subscriptions,
)
from knight_tw.storage.tables_relay import (
    abilities,
    channels,
    logs,
    models,
    perf_metrics,
    prefill_groups,
    quota_data,
    tokens,
    vendors,
)
from knight_tw.storage.tables_system import (
    midjourneys,
    options,
    setups,
    system_instances,
    system_task_locks,
    system_tasks,
    tasks,
)

LOG_TABLES = (logs, knight_journal)
"""What a second database for logs holds (LOG_SQL_DSN)."""

__all__ = [
    "LATENCY_BOUNDS",
    "LATENCY_COLUMNS",
    "LOG_TABLES",
    "TTFT_COLUMNS",
    "SchemaRefused",
    "abilities",
    "auth_flows",
    "authz_roles",
    "casbin_rule",
    "channels",
    "checkins",
    "custom_oauth_providers",
    "ensure",
    "external_identity_claims",
    "knight_changes",
    "knight_channel_minutes",
    "knight_holds",
    "knight_journal",
    "knight_leases",
    "knight_meta",
    "knight_option_history",
    "knight_orders",
    "knight_prefs",
    "knight_usage",
    "logs",
    "metadata",
    "midjourneys",
    "models",
    "options",
    "passkey_credentials",
    "perf_metrics",
    "prefill_groups",
    "quota_data",
    "redemptions",
    "setups",
    "subscription_orders",
    "subscription_plans",
    "subscription_pre_consume_records",
    "system_instances",
    "system_task_locks",
    "system_tasks",
    "tasks",
    "tokens",
    "top_ups",
    "two_fa_backup_codes",
    "two_fas",
    "user_oauth_bindings",
    "user_sessions",
    "user_subscriptions",
    "users",
    "vendors",
]
