//! The `pitool` program.

fn main() -> std::process::ExitCode {
    pitool::start()
}
