//! `riklet exec [-it] ID -- COMMAND`

use std::{
    io::{self, IsTerminal as _, Read as _, Write},
    thread,
};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{CliError, node::NodeFlags};
use crate::{
    api::{Client, ClientError, ExecAsk, Inputs, Running},
    runtime::exec::{Input, Output, Size, Terminal},
};

/// So much is read at once.
const PIECE: usize = 16 * 1024;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ends with the command's exit code; 126 if it can't be run, 127 if there is none, \
128 + n if signal n
ended it. The command ends when this does.

Examples:
  riklet exec web -- cat /etc/resolv.conf
  riklet exec -it web -- sh
  riklet exec -i web -c sidecar -- tar x < files.tar"
)]
pub(super) struct Args {
    /// Its id, its uid, or its name while only one instance has it
    #[arg(value_name = "ID")]
    instance: String,
    /// Which container; the main one where there is one
    #[arg(short, long, value_name = "CONTAINER")]
    container: Option<String>,
    /// Pass stdin on
    #[arg(short = 'i', long)]
    stdin: bool,
    /// With a terminal
    #[arg(short, long)]
    tty: bool,
    /// The command and its arguments, after `--`; no shell
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<String>,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    if args.tty && args.stdin && !io::stdin().is_terminal() {
        return Err(CliError::usage(
            "-t with -i needs a terminal as stdin: leave -t out",
        ));
    }
    match args.node.ask(|client| run(client, args))? {
        0 => Ok(()),
        code => Err(CliError::exited(u8::try_from(code).unwrap_or(255))),
    }
}

async fn run(mut client: Client, args: &Args) -> Result<i32, ClientError> {
    let terminal = args.tty.then(|| Terminal {
        term: std::env::var("TERM").unwrap_or_else(|_| "xterm".to_owned()),
        size: size(),
    });
    let ask = ExecAsk {
        instance: args.instance.clone(),
        container: args.container.clone(),
        command: args.command.clone(),
        terminal,
    };
    let mut running = client.exec(ask).await?;
    // From here on what is typed is for the command, Ctrl-C too.
    let _raw = (args.tty && args.stdin).then(Raw::begin);
    let inputs = running.inputs();
    if args.stdin {
        thread::spawn(move || pass_stdin_on(&inputs));
    } else {
        inputs.send(Input::End).await;
    }
    converse(&mut running, args.tty).await
}

async fn converse(running: &mut Running, tty: bool) -> Result<i32, ClientError> {
    let inputs = running.inputs();
    let mut resized = listen(SignalKind::window_change());
    let mut terminated = listen(SignalKind::terminate());
    loop {
        tokio::select! {
            output = running.next() => match output? {
                Output::Stdout(bytes) => {
                    if !write(io::stdout().lock(), &bytes) {
                        // Nobody reads: as a command whose own pipe broke.
                        return Ok(128 + nix::libc::SIGPIPE);
                    }
                }
                Output::Stderr(bytes) => {
                    write(io::stderr().lock(), &bytes);
                }
                Output::Exit { code, .. } => return Ok(code),
            },
            () = heard(&mut resized), if tty => {
                if let Some(size) = size() {
                    inputs.send(Input::Size(size)).await;
                }
            }
            // The terminal is to be as it was; the command ends when the connection does.
            () = heard(&mut terminated) => return Ok(128 + nix::libc::SIGTERM),
        }
    }
}

fn listen(kind: SignalKind) -> Option<Signal> {
    signal(kind).ok()
}

async fn heard(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn write(mut to: impl Write, bytes: &[u8]) -> bool {
    to.write_all(bytes).and_then(|()| to.flush()).is_ok()
}

/// Until there is no more, or nobody takes it. On a thread of its own: reading a terminal blocks.
fn pass_stdin_on(inputs: &Inputs) {
    let mut piece = vec![0; PIECE];
    loop {
        let read = match io::stdin().lock().read(&mut piece) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read.unwrap_or(0),
        };
        let input = match read {
            0 => Input::End,
            read => Input::Bytes(piece[..read].to_vec()),
        };
        if !inputs.blocking_send(input) || read == 0 {
            return;
        }
    }
}

/// The terminal's size, if there is one.
fn size() -> Option<Size> {
    let size = tcgetwinsize(io::stdin()).or_else(|_| tcgetwinsize(io::stdout()));
    let size = size
        .ok()
        .filter(|size| size.ws_row > 0 && size.ws_col > 0)?;
    Some(Size {
        rows: size.ws_row,
        columns: size.ws_col,
    })
}

/// The terminal passes everything on as it is typed; as before once this is dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn begin() -> Self {
        let former = tcgetattr(io::stdin()).ok();
        if let Some(mut raw) = former.clone() {
            raw.make_raw();
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &raw);
        }
        Self(former)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(former) = &self.0 {
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, former);
        }
    }
}
