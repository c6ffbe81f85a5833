"""People, what they are in each tenant, and their sessions.

Tables: tenants, people, memberships, sessions. Audited: sign-ins and sign-outs. Announces nothing yet.
"""
