//! What every adapter must do, on tokio.

#[macro_use]
#[path = "../../core/driver/tests/adapter/mod.rs"]
mod adapter;

adapter_suite!(switchboard_tokio::TokioRuntime);
