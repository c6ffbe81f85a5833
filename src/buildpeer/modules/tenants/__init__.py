"""Companies: how they begin, what they may use, and how they are suspended, taken away and erased.

Tables: tenants, tenant_erasures. Whoever runs BuildPeer does this from the command line, as the database's role
`buildpeer_operator`; there are no doors. A suspended tenant is read but not written, which a trigger on its tables
sees to. Which tables are a tenant's, and which of their columns are secret, is asked of the catalog, so that none is
forgotten. Announces nothing.
"""
