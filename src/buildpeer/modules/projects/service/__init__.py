"""What people do with projects: the projects themselves, who is in them, where, for whom, and on which days."""
