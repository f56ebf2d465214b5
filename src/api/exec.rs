//! A command in a container, on the wire: both ends.

use std::{
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Status, Streaming};

use super::{
    ClientError, ExecAsk,
    client::refused,
    generated::{
        ExecExit, ExecInput, ExecOutput, ExecStart, Nothing, WindowSize, exec_input, exec_output,
    },
};
use crate::runtime::exec::{Input, Output, Session, Size, Terminal};

/// So many pieces wait on the client's side.
const WAITING: usize = 8;

fn size(size: WindowSize) -> Size {
    let cut = |n| u16::try_from(n).unwrap_or(u16::MAX);
    Size {
        rows: cut(size.rows),
        columns: cut(size.columns),
    }
}

fn window(size: Size) -> WindowSize {
    WindowSize {
        rows: size.rows.into(),
        columns: size.columns.into(),
    }
}

/// What the first message asks for.
pub(super) fn ask(first: Option<ExecInput>) -> Result<ExecAsk, Status> {
    let Some(exec_input::Of::Start(start)) = first.and_then(|input| input.of) else {
        return Err(Status::invalid_argument(
            "the first message has to be `start`",
        ));
    };
    if start.command.first().is_none_or(String::is_empty) {
        return Err(Status::invalid_argument("there is no command to run"));
    }
    let nul = |text: &String| text.contains('\0');
    if start.command.iter().any(nul) || nul(&start.term) {
        return Err(Status::invalid_argument("a command has no NUL in it"));
    }
    let terminal = start.tty.then_some(Terminal {
        term: start.term,
        size: start.size.map(size),
    });
    Ok(ExecAsk {
        instance: start.instance,
        container: Some(start.container).filter(|name| !name.is_empty()),
        command: start.command,
        terminal,
    })
}

/// What comes of a command, as messages. Dropping it, as tonic does when the client is gone, ends
/// the command.
pub(super) struct Answers(mpsc::Receiver<Output>);

impl Stream for Answers {
    type Item = Result<ExecOutput, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let of = |output| match output {
            Output::Stdout(bytes) => exec_output::Of::Stdout(bytes),
            Output::Stderr(bytes) => exec_output::Of::Stderr(bytes),
            Output::Exit { code, why } => exec_output::Of::Exit(ExecExit {
                code,
                why: why.unwrap_or_default(),
            }),
        };
        let message = |output| {
            Ok(ExecOutput {
                of: Some(of(output)),
            })
        };
        self.0.poll_recv(context).map(|output| output.map(message))
    }
}

/// Passes on what the client sends, until the command has ended.
pub(super) fn converse(session: Session, mut inputs: Streaming<ExecInput>) -> Answers {
    let Session { input, output } = session;
    tokio::spawn(async move {
        while let Ok(Some(message)) = inputs.message().await {
            let to_pass = match message.of {
                Some(exec_input::Of::Stdin(bytes)) => Input::Bytes(bytes),
                Some(exec_input::Of::Eof(Nothing {})) => Input::End,
                Some(exec_input::Of::Size(new)) => Input::Size(size(new)),
                // Of a newer client, or a second start.
                Some(exec_input::Of::Start(_)) | None => continue,
            };
            if input.send(to_pass).await.is_err() {
                return;
            }
        }
    });
    Answers(output)
}

/// The messages of a client, the first of which asks.
pub(super) fn begin(ask: ExecAsk) -> (mpsc::Sender<ExecInput>, ReceiverStream<ExecInput>) {
    let (requests, inputs) = mpsc::channel(WAITING);
    let terminal = ask.terminal;
    let start = ExecStart {
        instance: ask.instance,
        container: ask.container.unwrap_or_default(),
        command: ask.command,
        tty: terminal.is_some(),
        size: terminal.as_ref().and_then(|t| t.size).map(window),
        term: terminal.map(|t| t.term).unwrap_or_default(),
    };
    let first = ExecInput {
        of: Some(exec_input::Of::Start(start)),
    };
    // The channel is new: there is room.
    let _ = requests.try_send(first);
    (requests, ReceiverStream::new(inputs))
}

/// A command that runs in a container, as the client sees it. It ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    requests: mpsc::Sender<ExecInput>,
    answers: Streaming<ExecOutput>,
    path: PathBuf,
}

/// Where a client's input goes; whoever types may be another task.
#[derive(Debug, Clone)]
pub struct Inputs(mpsc::Sender<ExecInput>);

impl Inputs {
    /// Passes it on; `false` once the command has ended.
    pub async fn send(&self, input: Input) -> bool {
        self.0.send(message(input)).await.is_ok()
    }

    /// The same outside of a runtime: blocks while the command reads nothing.
    #[must_use]
    pub fn blocking_send(&self, input: Input) -> bool {
        self.0.blocking_send(message(input)).is_ok()
    }
}

fn message(input: Input) -> ExecInput {
    let of = match input {
        Input::Bytes(bytes) => exec_input::Of::Stdin(bytes),
        Input::End => exec_input::Of::Eof(Nothing {}),
        Input::Size(size) => exec_input::Of::Size(window(size)),
    };
    ExecInput { of: Some(of) }
}

impl Running {
    pub(super) fn new(
        requests: mpsc::Sender<ExecInput>,
        answers: Streaming<ExecOutput>,
        path: PathBuf,
    ) -> Self {
        Self {
            requests,
            answers,
            path,
        }
    }

    /// Where its input goes.
    #[must_use]
    pub fn inputs(&self) -> Inputs {
        Inputs(self.requests.clone())
    }

    /// What comes next of it; its exit is the last.
    ///
    /// # Errors
    /// The daemon is gone before the command has ended.
    pub async fn next(&mut self) -> Result<Output, ClientError> {
        loop {
            let answer = self.answers.message().await;
            let answer = answer.map_err(|status| refused(&self.path, &status))?;
            let Some(answer) = answer else {
                return Err(ClientError::BrokeOff {
                    path: self.path.clone(),
                    message: "the command's end wasn't told".to_owned(),
                });
            };
            return Ok(match answer.of {
                Some(exec_output::Of::Stdout(bytes)) => Output::Stdout(bytes),
                Some(exec_output::Of::Stderr(bytes)) => Output::Stderr(bytes),
                Some(exec_output::Of::Exit(exit)) => Output::Exit {
                    code: exit.code,
                    why: Some(exit.why).filter(|why| !why.is_empty()),
                },
                None => continue,
            });
        }
    }
}
