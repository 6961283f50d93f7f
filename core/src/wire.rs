//! What instances say to each other.
