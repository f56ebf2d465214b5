//! Static manifests: what runs because its file is there.
//!
//! Owns: the manifests directory: when it is looked at, what its files ask for, and when a file
//! that isn't there any more counts as removed. In: the directory's path. Out: instructions of
//! [`Source::Manifest`](crate::model::ids::Source) to the intake, and what can't be taken, for
//! `status` and `ps`. Must never happen here: a destroy because the directory, or a file in it,
//! can't be read; or anything that concerns another source's instance.
//!
//! One task, one `select!`. A look runs on a thread of its own, for a disk may hang; what follows
//! from it is decided in [`memory`], which knows neither disk nor clock.

mod directory;
mod memory;
mod sheet;
mod watch;

use std::{path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, watch as channel},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use self::{
    directory::{Look, LookError, look},
    memory::Memory,
    sheet::Sheet,
    watch::Watch,
};
use crate::{
    book::Book,
    error_chain::one_line,
    intake::{Intake, Judgement, Verdict},
    model::{
        ids::{InstanceId, Uid},
        instruction::Instruction,
        line::{DegradedMode, Event},
        state::Reason,
    },
    view::ManifestFault,
};

/// Nothing has to happen for so long before the directory is looked at.
const QUIET: Duration = Duration::from_millis(200);

/// It is looked at after so long although it goes on changing.
const RESTLESS: Duration = Duration::from_secs(2);

/// How often it is looked at although nothing has happened: links may lead to elsewhere, and what
/// was refused may be taken now.
const LOOK: Duration = Duration::from_secs(60);

/// How often it is asked whether it is still the directory that is watched, and whether one that
/// can't be read can be by now.
const CHECK: Duration = Duration::from_secs(10);

/// What could not be written down is tried again after so long.
const RETRY: Duration = Duration::from_secs(5);

/// A look that takes longer hangs.
const HANGS: Duration = Duration::from_secs(30);

/// Tells of an incarnation that something was accepted for it.
pub type Woken = Arc<dyn Fn(Uid) + Send + Sync>;

/// What a look brought: the watch back, and what was seen if there was a reason to look.
type Seen = (Watch, Option<Result<(Look, Sheet), LookError>>);

/// The loop of the manifests directory.
pub struct Manifests<B> {
    dir: PathBuf,
    book: B,
    intake: Arc<Intake<B>>,
    woken: Woken,
    memory: Memory,
    was_there: bool,
    faults: channel::Sender<Vec<ManifestFault>>,
}

impl<B: Book> Manifests<B> {
    /// A loop over `dir`, and what of it can't be taken at any time.
    pub fn new(
        dir: PathBuf,
        book: B,
        intake: Arc<Intake<B>>,
        woken: Woken,
    ) -> (Self, channel::Receiver<Vec<ManifestFault>>) {
        let (faults, shown) = channel::channel(Vec::new());
        let manifests = Self {
            dir,
            book,
            intake,
            woken,
            memory: Memory::default(),
            was_there: false,
            faults,
        };
        (manifests, shown)
    }

    /// Follows the directory until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let bell = Arc::new(Notify::new());
        let mut watch = Some(Watch::new(&self.dir, Arc::clone(&bell)));
        let mut checks = interval(CHECK);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut looking: Option<JoinHandle<Seen>> = None;
        let mut pace = Pace::new(Instant::now());
        loop {
            let waits = looking.is_some();
            tokio::select! {
                () = stop.cancelled() => return,
                () = bell.notified() => pace.hint(Instant::now()),
                _ = checks.tick(), if !waits => {
                    looking = watch.take().map(|watch| self.look(watch, false));
                    pace.begun = Instant::now();
                }
                () = sleep_until(pace.due), if !waits => {
                    looking = watch.take().map(|watch| self.look(watch, true));
                    pace.looks(Instant::now());
                }
                () = sleep_until(pace.begun + HANGS), if waits && !pace.hangs => {
                    pace.hangs = true;
                    let dir = self.dir.display();
                    self.unreadable(format!("reading {dir} takes longer than {HANGS:?}"));
                }
                seen = ended(&mut looking), if waits => {
                    looking = None;
                    pace.hangs = false;
                    let (again, seen) = match seen {
                        Some((again, seen)) => (again, seen),
                        // A panic is a defect; it is said by the panic's own message.
                        None => (Watch::new(&self.dir, Arc::clone(&bell)), None),
                    };
                    watch = Some(again);
                    if let Some(seen) = seen {
                        let again = self.take(seen).await;
                        pace.at_latest(Instant::now() + again);
                    }
                }
            }
        }
    }

    /// Begins a look: a whole one, or one only if the directory is another than the watched one.
    fn look(&self, mut watch: Watch, whole: bool) -> JoinHandle<Seen> {
        let dir = self.dir.clone();
        tokio::task::spawn_blocking(move || {
            // First the watch, then the look: what changes in between is seen twice.
            let anew = watch.ensure();
            let read = |look: Look| {
                let sheet = Sheet::read(&look.files);
                (look, sheet)
            };
            let seen = (whole || anew).then(|| look(&dir).map(read));
            (watch, seen)
        })
    }

    /// Acts on what was seen. Returns after how long to look again at the latest.
    async fn take(&mut self, seen: Result<(Look, Sheet), LookError>) -> Duration {
        let (look, mut sheet) = match seen {
            Ok(seen) => seen,
            Err(error) => {
                self.memory.lost();
                let needed = self.was_there || self.book.read(memory::any);
                if needed || !matches!(error, LookError::Missing { .. }) {
                    self.unreadable(one_line(&error));
                }
                return CHECK;
            }
        };
        self.was_there = true;
        self.show(None);
        let now = self.book.now().up;
        let memory = &mut self.memory;
        let due = self.book.read(|fold| memory.take(&look, &sheet, fold, now));
        for (id, owner) in &due.held {
            let why = format!("{owner} has it, comes first, and can't be understood just now");
            let file = sheet
                .wanted
                .get(id)
                .map_or("", |wanted| wanted.file.as_str())
                .to_owned();
            sheet.fault(&file, Some(id), Reason::InvalidDefinition, &why);
        }
        let mut all_written = true;
        for (id, create) in &due.creates {
            all_written &= self.create(id, create, &mut sheet).await;
        }
        for (id, destroy) in &due.destroys {
            all_written &= self.submit(id, destroy).await.is_some();
        }
        self.faults.send_if_modified(|shown| {
            let differ = *shown != sheet.faults;
            if differ {
                let news = sheet.faults.iter().filter(|fault| !shown.contains(fault));
                news.for_each(|fault| tracing::warn!(%fault, "a manifest is not taken"));
                shown.clone_from(&sheet.faults);
            }
            differ
        });
        let again = due.again_up.map(|up| up.saturating_sub(now));
        let again = again.map_or(LOOK, Duration::from_millis);
        if all_written { again } else { again.min(RETRY) }
    }

    /// Asks for what a file holds. A refusal is shown as long as it lasts, and written down once.
    async fn create(&mut self, id: &InstanceId, create: &Instruction, sheet: &mut Sheet) -> bool {
        let Some(wanted) = sheet.wanted.get(id).cloned() else {
            return true;
        };
        if let Judgement::Refuse {
            reason, message, ..
        } = self.intake.judged(create)
        {
            sheet.fault(&wanted.file, Some(id), reason, &message);
            let memory = &mut self.memory;
            let news = self
                .book
                .read(|fold| memory.is_news(fold, id, &wanted.definition, reason, &message));
            if !news {
                return true;
            }
        }
        self.submit(id, create).await.is_some()
    }

    /// None: it could not be written down.
    async fn submit(&self, id: &InstanceId, instruction: &Instruction) -> Option<Verdict> {
        match self.intake.submit(instruction).await {
            Ok(verdict) => {
                if let Verdict::Accepted { uid, seq } = &verdict {
                    tracing::info!(instance = %id, %uid, seq, ask = ?instruction.ask, "accepted");
                    (self.woken)(uid.clone());
                }
                Some(verdict)
            }
            Err(error) => {
                let why = one_line(&error);
                tracing::warn!(instance = %id, why, "a manifest's instruction could not be accepted");
                None
            }
        }
    }

    /// What runs goes on running, until the directory can be read again.
    fn unreadable(&self, why: String) {
        self.show(Some(why));
    }

    /// Enters or leaves the degraded mode.
    fn show(&self, detail: Option<String>) {
        let mode = DegradedMode::ManifestsUnreadable;
        let shown = self
            .book
            .read(|fold| fold.node.degraded.get(&mode).cloned());
        let event = match (shown, detail) {
            (Some(old), Some(detail)) if old == detail => return,
            (_, Some(detail)) => Event::DegradedEntered { mode, detail },
            (Some(_), None) => Event::DegradedLeft { mode },
            (None, None) => return,
        };
        if let Err(error) = self.book.record(event) {
            tracing::warn!(%mode, why = one_line(&error), "a degraded mode could not be written down");
        }
    }
}

/// When the directory is looked at.
struct Pace {
    due: Instant,
    /// The first hint that no look has answered yet.
    hinted: Option<Instant>,
    /// When the last look began.
    begun: Instant,
    /// Was it said that it hangs?
    hangs: bool,
}

impl Pace {
    /// Begins with a look.
    fn new(now: Instant) -> Self {
        Self {
            due: now,
            hinted: None,
            begun: now,
            hangs: false,
        }
    }

    /// Something has changed: look once that is over.
    fn hint(&mut self, now: Instant) {
        let first = *self.hinted.get_or_insert(now);
        self.due = (now + QUIET).min(first + RESTLESS);
    }

    /// A whole look begins.
    fn looks(&mut self, now: Instant) {
        self.hinted = None;
        self.begun = now;
        self.due = now + LOOK;
    }

    fn at_latest(&mut self, at: Instant) {
        self.due = self.due.min(at);
    }
}

/// What the look brought; none if it panicked.
async fn ended(looking: &mut Option<JoinHandle<Seen>>) -> Option<Seen> {
    match looking {
        Some(handle) => handle.await.ok(),
        None => std::future::pending().await,
    }
}
