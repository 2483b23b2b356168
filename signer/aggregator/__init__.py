"""Gathers partials from agents, names culprits, combines, verifies. Never touches a share."""
