"""Logins by accounts that people have elsewhere: OAuth providers, WeChat, Telegram.

A provider is a value (`provider.Provider`): where to ask, how to say who we are, where
in its answer a person's name stands, and which column or table remembers the person.
`built_in` makes those that the options describe, `custom` those of the table
`custom_oauth_providers`. `exchange` asks a provider, `people` finds or makes the
account, `policy` says who may come in (authentication specification, section 10).
"""
