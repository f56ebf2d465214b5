//! What passes between a command's streams and who speaks with it, each way by a task of its own:
//! a command that reads nothing keeps nobody from hearing it.

use std::{io, os::fd::OwnedFd, sync::Arc};

use rustix::{
    io::Errno,
    process::{Signal, pidfd_send_signal},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, unix::AsyncFd},
    net::unix::pipe,
    sync::mpsc,
};

use super::{Input, Output, resize};

/// The most bytes of a piece.
const PIECE: usize = 16 * 1024;

pub(super) async fn read_pipe(
    mut from: pipe::Receiver,
    to: mpsc::Sender<Output>,
    piece: fn(Vec<u8>) -> Output,
) {
    let mut buffer = vec![0; PIECE];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if to.send(piece(buffer[..read].to_vec())).await.is_err() {
            return;
        }
    }
}

pub(super) async fn write_pipe(mut to: pipe::Sender, mut inputs: mpsc::Receiver<Input>) {
    while let Some(input) = inputs.recv().await {
        match input {
            Input::Bytes(bytes) => {
                if to.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            Input::End => break,
            Input::Size(_) => {}
        }
    }
    drop(to);
    // Whoever sends more isn't made to wait for a reader that there isn't.
    while inputs.recv().await.is_some() {}
}

pub(super) async fn read_terminal(master: Arc<AsyncFd<OwnedFd>>, to: mpsc::Sender<Output>) {
    let mut buffer = vec![0; PIECE];
    loop {
        let read = loop {
            let Ok(mut ready) = master.readable().await else {
                return;
            };
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd, &mut buffer)?));
            if let Ok(read) = read {
                break read;
            }
        };
        // EIO: its other end is closed.
        let Ok(read @ 1..) = read else {
            return;
        };
        let piece = Output::Stdout(buffer[..read].to_vec());
        if to.send(piece).await.is_err() {
            return;
        }
    }
}

pub(super) async fn write_terminal(
    master: Arc<AsyncFd<OwnedFd>>,
    mut inputs: mpsc::Receiver<Input>,
    runc: Option<OwnedFd>,
) {
    while let Some(input) = inputs.recv().await {
        match input {
            Input::Bytes(bytes) => {
                if write_all(&master, &bytes).await.is_err() {
                    return;
                }
            }
            // A terminal has no end; who wants one types it.
            Input::End => {}
            Input::Size(size) => {
                // runc looks at its terminal's size when it is told that it has changed; the
                // kernel tells only whose controlling terminal it is.
                if resize(master.get_ref(), size).is_ok()
                    && let Some(runc) = &runc
                {
                    let _ = pidfd_send_signal(runc, Signal::WINCH);
                }
            }
        }
    }
}

async fn write_all(master: &AsyncFd<OwnedFd>, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let mut ready = master.writable().await?;
        match ready.try_io(|fd| Ok(rustix::io::write(fd, bytes)?)) {
            Ok(Ok(written)) => bytes = &bytes[written..],
            Ok(Err(e)) if e.raw_os_error() == Some(Errno::INTR.raw_os_error()) => {}
            Ok(Err(e)) => return Err(e),
            Err(_) => {}
        }
    }
    Ok(())
}
