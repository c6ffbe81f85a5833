"""Projects and who works on them.

Tables: projects, project_members. Everybody sees the projects they belong to; owners and managers all of their
tenant's, and only they make and change projects and say who works on them.
"""
