"""Electrons in matter: materials, elastic scattering, transport, back-scattering."""
