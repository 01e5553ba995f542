"""What a race decided, as tables, figures and a page."""
