"""Projects: what they are, who works on them and for whom, where in them things are, and on which days.

Tables: projects, project_members, project_budgets, project_covers, project_companies, companies, trades, locations,
calendar_days. Everybody sees the projects they belong to; owners and managers all of their tenant's, and only they make
and change projects and say who works on them. Jobs: locations.import, people.import.
"""
