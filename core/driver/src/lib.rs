//! switchboard-driver
