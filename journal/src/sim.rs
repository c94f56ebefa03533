//! A disk in memory that behaves as badly as the real one may.
