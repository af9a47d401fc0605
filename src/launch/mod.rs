//! The only choreography in the program: birth, gates, rollback.
