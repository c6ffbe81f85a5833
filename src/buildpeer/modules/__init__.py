"""The business. Modules see of each other only `facade` and `events`, and call only those named before them:
identity, projects, uploads, documents, notifications.
"""
