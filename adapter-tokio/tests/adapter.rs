//! What every adapter must do, on tokio.

switchboard_conformance::adapter_suite!(switchboard_tokio::TokioRuntime);
