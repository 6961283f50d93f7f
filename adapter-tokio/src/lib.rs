//! switchboard-tokio
