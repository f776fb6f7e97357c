//! Decides when a job starts.
