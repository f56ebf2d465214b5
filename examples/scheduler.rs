//! A small RIK v1 scheduler, to see and drive a riklet node by hand, and for demonstrations.
//!
//! ```text
//! cargo run --features testing --example scheduler -- --listen 127.0.0.1:4995
//! > create examples/workloads/hello.json hello
//! > destroy hello
//! ```
//!
//! On a terminal it shows a live table of nodes and instances; else it prints one line an event.
//! It is a thin shell around `riklet::testing::scheduler`, which tests embed.

#[path = "scheduler/command.rs"]
mod command;
#[path = "scheduler/record.rs"]
mod record;
#[path = "scheduler/screen.rs"]
mod screen;

use std::{
    io::{self, BufRead as _, IsTerminal as _},
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use riklet::{
    clock::Clock,
    error_chain::one_line,
    testing::scheduler::{Core, Event, Manners, Scheduler},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time,
};

use crate::{
    command::Command,
    record::Record,
    screen::{Screen, event_line},
};

/// The screen is drawn at most this often.
const DRAW_EVERY: Duration = Duration::from_millis(100);

/// A small RIK scheduler: nodes register with it, commands on stdin place instances on them.
#[derive(Debug, Parser)]
#[command(after_help = command::HELP)]
struct Options {
    /// Where nodes find it
    #[arg(long, default_value = "127.0.0.1:4995")]
    listen: SocketAddr,
    /// With the real scheduler's quirks: forgets instances of a lost link, refuses a name that is
    /// taken, answers DESTROYING by a DESTROY, matches ids by prefix, sends explicit nulls
    #[arg(long)]
    like_rik: bool,
    /// Writes everything that is received and sent to this file, one JSON object a line
    #[arg(long)]
    record: Option<PathBuf>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("scheduler: {}", one_line(&*error));
            ExitCode::FAILURE
        }
    }
}

/// Lines of stdin; a thread of its own, for reading a terminal blocks.
fn stdin_lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// What is shown and written of the scheduler's events.
struct Show {
    screen: Option<Screen>,
    record: Option<Record>,
    clock: Clock,
    seen: usize,
}

impl Show {
    /// Passes on what happened since the last call.
    fn news(&mut self, scheduler: &Scheduler) -> io::Result<()> {
        let (events, next) = scheduler.look(|core| core.events(self.seen));
        self.seen = next;
        let at = self.clock.now().at;
        for event in &events {
            if let Some(record) = &mut self.record {
                record.write(at, event)?;
            }
            match &mut self.screen {
                Some(screen) => screen.event(at, event),
                None if is_worth_a_line(event) => println!("{at} {}", event_line(event)),
                None => {}
            }
        }
        self.draw(scheduler)
    }

    fn draw(&mut self, scheduler: &Scheduler) -> io::Result<()> {
        match &mut self.screen {
            Some(screen) => scheduler.look(|core: &Core| screen.draw(core)),
            None => Ok(()),
        }
    }

    /// A command's answer.
    fn answer(&mut self, text: &str) {
        match &mut self.screen {
            Some(screen) => screen.answer(text),
            None => println!("{text}"),
        }
    }
}

/// An acknowledged stream goes without saying; it is in the record.
fn is_worth_a_line(event: &Event) -> bool {
    !matches!(
        event,
        Event::StreamEnded {
            acknowledged: true,
            ..
        }
    )
}

async fn run(options: Options) -> Result<(), Box<dyn std::error::Error>> {
    let manners = if options.like_rik {
        Manners::LikeRik
    } else {
        Manners::Kind
    };
    let scheduler = Scheduler::start(options.listen, manners)
        .await
        .map_err(|error| format!("cannot listen on {}: {error}", options.listen))?;
    let record = options.record.as_deref().map(Record::create).transpose()?;
    let live = io::stdout().is_terminal() && io::stdin().is_terminal();
    let title = format!(
        "RIK scheduler on {}{}",
        scheduler.address(),
        if options.like_rik {
            ", with the real one's quirks"
        } else {
            ""
        }
    );
    if !live {
        println!("{title}");
    }
    let mut show = Show {
        screen: live.then(|| Screen::new(title)),
        record,
        clock: Clock::system()?,
        seen: 0,
    };
    let mut lines = stdin_lines();
    let mut changes = scheduler.changes();
    let mut terminated = signal(SignalKind::terminate())?;
    let mut drawn: Option<Instant> = None;
    let mut stdin_open = true;
    loop {
        if let Some(drawn) = drawn {
            // A burst of events is drawn once.
            time::sleep(DRAW_EVERY.saturating_sub(drawn.elapsed())).await;
        }
        show.news(&scheduler)?;
        drawn = show.screen.is_some().then(Instant::now);
        tokio::select! {
            changed = changes.changed() => changed?,
            line = lines.recv(), if stdin_open => match line.as_deref().map(str::parse) {
                Some(Ok(Command::Quit)) => return Ok(()),
                Some(Ok(command)) => {
                    let answer = command.run(&scheduler);
                    show.answer(&answer);
                }
                Some(Err(reason)) => show.answer(&reason),
                // Without a stdin it goes on for its nodes; a signal ends it.
                None => stdin_open = false,
            },
            _ = tokio::signal::ctrl_c() => return Ok(()),
            _ = terminated.recv() => return Ok(()),
        }
    }
}
