//! The `riklet` program: everything is in the library, so that tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = riklet::cli::parse();
    riklet::cli::init_tracing(&cli);
    match riklet::cli::execute(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if let Some(line) = error.line() {
                // Nobody may be listening any more; the exit code still tells.
                let _ = std::io::Write::write_fmt(
                    &mut std::io::stderr(),
                    format_args!("riklet: {line}\n"),
                );
            }
            error.exit_code()
        }
    }
}
