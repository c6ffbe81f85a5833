"""People, what they are in each tenant, what each role may do, and sign-ins.

Tables: people, memberships, sessions, password_resets, totps, recovery_codes, failed_sign_ins, invitations,
tokens, devices, api_keys. Audited: sign-ins, also failed ones, sign-outs, revoked and reused sessions, changes of
tenant, of passwords and of the second step, wrong passwords and codes, who joined, devices approved and revoked.
Announces nothing. Permissions: the table in `rules.py`, which all modules ask through `facade.permit`.
"""
