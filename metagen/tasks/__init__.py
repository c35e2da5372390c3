"""What a task's code files are set to: one file a folder of `templates/tasks/`."""
