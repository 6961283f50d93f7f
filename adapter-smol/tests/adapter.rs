//! What every adapter must do, on smol.

switchboard_conformance::adapter_suite!(switchboard_smol::SmolRuntime);
