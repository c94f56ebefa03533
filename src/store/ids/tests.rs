//! Ids are found across blocks, restarts and lost files; a wrong hit never counts.
