"""Long work that people order: exports, archives, imports.

Tables: jobs. Announces: job.changed, to the person who ordered it. Other modules order jobs by `facade.start`, and give
the worker a handler per kind, which does the work as that person, under their own sight, and may be killed at any
moment: the job is then done again. Nobody sees others' jobs, whatever their role.
"""
