"""Who is calling: credentials of relay calls, logins, sessions, passwords."""
