"""Reports for people who must be shown something: gathered, decided in `domain`, rendered here."""
