//! Rapport: robot reward learning. See `docs/architecture.md` for the map of the house.
