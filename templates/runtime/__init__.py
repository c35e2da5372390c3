"""What the scripts share, a small module for each matter; nothing of the task is in it."""
