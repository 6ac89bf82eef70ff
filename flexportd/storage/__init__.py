"""SQLite: one writer, a few readers, numbered migrations, one repository a table family. Alone in speaking SQL."""
