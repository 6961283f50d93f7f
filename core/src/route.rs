//! Routing as a pure function: rows, view and selection in, hops out.
