"""People, what they are in each tenant, and their sessions.

Tables: tenants, people, memberships, sessions. Audited: sign-ins, also failed ones,
sign-outs, and sessions that end because an old token was used again. Announces nothing yet.
"""
