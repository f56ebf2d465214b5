//! `riklet images`

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::{
    CliError,
    node::NodeFlags,
    output::{OutputFlags, age, counted, now, print, table, warn},
    records,
};
use crate::{
    api::ClientError,
    image::inventory,
    view::{self, ImageRow, PullView, Pulling, size},
};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  riklet images ls                     what lies on this node, and whom it is for
  riklet images pull nginx:1.27        have it before it is needed
  riklet images prune                  remove what nothing uses")]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// List the images on this node; works without the daemon
    Ls(Ls),
    /// Have an image, asking its registry
    Pull(Pull),
    /// Remove the images that nothing uses
    Prune(Prune),
}

#[derive(Debug, clap::Args)]
struct Ls {
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

#[derive(Debug, clap::Args)]
struct Pull {
    /// The image, as a definition names it
    #[arg(value_name = "IMAGE")]
    image: String,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

#[derive(Debug, clap::Args)]
struct Prune {
    /// Also those that were used a moment ago (images.gc_min_age)
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    node: NodeFlags,
}

pub(super) fn execute(args: &Args) -> Result<(), CliError> {
    match &args.action {
        Action::Ls(args) => ls(args),
        Action::Pull(args) => pull(args),
        Action::Prune(args) => prune(args),
    }
}

fn ls(args: &Ls) -> Result<(), CliError> {
    let answer = args
        .node
        .answered(|mut client| async move { client.images().await })?;
    let rows = match answer {
        Err(ClientError::Unreachable { .. }) => from_files(&args.node)?,
        answer => answer?,
    };
    args.output.print(&rows, |rows, wide| {
        text(rows, wide, now().map(|now| now.at))
    })
}

/// The same from the node's files alone.
fn from_files(node: &NodeFlags) -> Result<Vec<ImageRow>, CliError> {
    let state_dir = node.config().state_dir;
    let known = records::load(&state_dir)?;
    let found = inventory(&state_dir.join("snapshots"));
    let found = found.map_err(|e| CliError::says(format!("cannot read the images: {e}")))?;
    warn("no daemon answers: this is what its files say");
    let named = |image: &str| {
        let reference: crate::image::reference::Reference = image.parse().ok()?;
        let identity = reference.identity();
        let leads = found.snapshots.iter().find(|s| s.names.contains(&identity));
        leads.map(|stored| stored.snapshot.clone())
    };
    Ok(view::images(&found, &known.fold, named))
}

fn text(rows: &[ImageRow], wide: bool, now: Option<Timestamp>) -> String {
    let cells = rows.iter().flat_map(|row| {
        let names = match row.names.as_slice() {
            [] => vec!["-".to_owned()],
            names => names.to_vec(),
        };
        let digest = row.digest.clone().unwrap_or_else(|| "-".to_owned());
        let digest = match wide {
            true => digest,
            // Enough to tell them apart, as docker shows it.
            false => digest.chars().take("sha256:".len() + 12).collect(),
        };
        let used = match row.used_by.as_slice() {
            [] => "-".to_owned(),
            ids if wide => ids.join(","),
            [one] => one.clone(),
            [first, rest @ ..] => format!("{first} and {} more", rest.len()),
        };
        let (bytes, layers) = (size(row.bytes), size(row.layer_bytes));
        let age = age(row.pulled_at, now);
        names.into_iter().map(move |name| {
            [
                name,
                digest.clone(),
                bytes.clone(),
                layers.clone(),
                used.clone(),
                age.clone(),
            ]
        })
    });
    if wide {
        return table(
            ["IMAGE", "DIGEST", "SIZE", "LAYERS", "USED BY", "AGE"],
            cells,
        );
    }
    let cells = cells.map(|[name, digest, bytes, _, used, age]| [name, digest, bytes, used, age]);
    table(["IMAGE", "DIGEST", "SIZE", "USED BY", "AGE"], cells)
}

fn pull(args: &Pull) -> Result<(), CliError> {
    let image = args.image.clone();
    let mut shown = Shown::new(&image);
    let done = args.node.ask(|mut client| async move {
        let done = client.pull_image(&image, |step| shown.step(step)).await;
        shown.end();
        done
    })?;
    args.output.print(&done, |done, _| match done {
        Pulling::Done { digest, .. } => format!("{} is here: {digest}", args.image),
        Pulling::Progress(_) => String::new(),
    })
}

/// What a person sees of a pull, on stderr: a bar on a terminal, else a line for each new step.
struct Shown {
    bar: Option<ProgressBar>,
    image: String,
    last: Option<(String, usize)>,
}

impl Shown {
    fn new(image: &str) -> Self {
        Self {
            bar: io::stderr().is_terminal().then(ProgressBar::new_spinner),
            image: image.to_owned(),
            last: None,
        }
    }

    fn step(&mut self, step: &Pulling) {
        let Pulling::Progress(step) = step else {
            return;
        };
        let Some(bar) = &self.bar else {
            return self.line(step);
        };
        // Where the number of layers isn't known there is nothing to fill.
        let style = match step.layers {
            0 => "{spinner} {msg}",
            _ => "{spinner} [{bar:24}] {msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.enable_steady_tick(Duration::from_millis(120));
        bar.set_length(u64::try_from(step.layers).unwrap_or(0));
        bar.set_position(u64::try_from(step.layers_done).unwrap_or(0));
        bar.set_message(format!("{}: {}", self.image, step.words()));
    }

    fn line(&mut self, step: &PullView) {
        let seen = Some((step.step.clone(), step.layers_done));
        if self.last != seen {
            self.last = seen;
            let _ = writeln!(io::stderr(), "{}: {}", self.image, step.words());
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn prune(args: &Prune) -> Result<(), CliError> {
    let all = args.all;
    let gone = args
        .node
        .ask(|mut client| async move { client.prune_images(all).await })?;
    if gone.snapshots.is_empty() && gone.bytes == 0 && args.output.output == Default::default() {
        return print("nothing went: every image is in use, or was a moment ago (--all)");
    }
    args.output.print(&gone, |gone, _| {
        let images = counted(gone.snapshots.len(), "image");
        format!("{images} went, {} are free again", size(gone.bytes))
    })
}
