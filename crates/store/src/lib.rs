//! What Mainstay remembers: SQLite.
