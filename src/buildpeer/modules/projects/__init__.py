"""Projects and who works on them.

Tables: projects, project_members. Everybody sees the projects they belong to; owners and managers all of their
tenant's.
"""
