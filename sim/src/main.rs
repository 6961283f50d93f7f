//! The command line of the simulator.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
