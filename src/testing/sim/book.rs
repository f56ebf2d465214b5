//! The journal of a simulated daemon: lines on a disk that a power cut takes back in part.

use std::task::Poll;

use tokio::sync::watch;

use super::{
    ground::Ground,
    trap::{KINDS, Point, Side, place_of_kind},
};
use crate::{
    book::{Book, BookError, Recorded},
    model::{
        fold::Fold,
        ids::Seq,
        line::{Event, Line, Moment},
    },
};

/// The book of one daemon. What is on disk outlives it.
#[derive(Debug, Clone)]
pub(super) struct SimBook(pub(super) Ground);

impl Book for SimBook {
    fn record(&self, event: Event) -> Result<Recorded, BookError> {
        let mut state = self.0.state();
        let kind = place_of_kind(&event).and_then(|n| KINDS.get(n).copied());
        let point = Point::Line(kind.unwrap_or("the writer's own"));
        if state.pass(point, Side::Before) {
            return Err(BookError::Closed);
        }
        let moment = state.clocks.moment();
        let report = state.disk.fold.effect(&event, &moment);
        let seq = state.disk.fold.seq + 1;
        let line = Line {
            seq,
            moment,
            event,
            state: report.clone(),
            durable: None,
        };
        state.tell(|_| {
            let text = serde_json::to_value(&line.event).unwrap_or_default();
            let news = line.state.as_ref().map(|s| (s.state, s.reason));
            format!("  line {seq} {} {}", brief(&text), said(news))
        });
        super::judge::line_written(&mut state, &line);
        state.disk.fold.apply(&line);
        let truth = state.clocks.truth;
        state.disk.lines.push(line);
        state.disk.written_at.push(truth);
        super::judge::line_folded(&mut state, seq);
        state.disk.written.send_replace(seq);
        // Dying here leaves the line and tells nobody.
        state.pass(point, Side::After);
        Ok(Recorded { seq, state: report })
    }

    async fn durable(&self, seq: Seq) -> Result<(), BookError> {
        if self.durable_seq() >= seq {
            return Ok(());
        }
        self.0.point(Point::Durable, Side::Before).await;
        std::future::poll_fn(|cx| {
            let mut state = self.0.state();
            if state.trap.is_dead() {
                return Poll::Pending;
            }
            if state.disk.durable >= seq {
                return Poll::Ready(());
            }
            state.disk.wanted = state.disk.wanted.max(seq);
            state.disk.waiting.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
        self.0.point(Point::Durable, Side::After).await;
        Ok(())
    }

    fn durable_seq(&self) -> Seq {
        self.0.state().disk.durable
    }

    fn written(&self) -> watch::Receiver<Seq> {
        self.0.state().disk.written.subscribe()
    }

    async fn stored(&self, _: Seq) {}

    fn read<T>(&self, look: impl FnOnce(&Fold) -> T) -> T {
        look(&self.0.state().disk.fold)
    }

    fn now(&self) -> Moment {
        self.0.state().clocks.moment()
    }
}

fn said(
    news: Option<(
        crate::model::state::State,
        Option<crate::model::state::Reason>,
    )>,
) -> String {
    match news {
        Some((state, Some(reason))) => format!("=> {state} {reason}"),
        Some((state, None)) => format!("=> {state}"),
        None => String::new(),
    }
}

/// An event as a reader of a story wants it: no definitions.
fn brief(event: &serde_json::Value) -> String {
    let fields = event.as_object().into_iter().flatten();
    let told = fields.filter(|(name, _)| !matches!(name.as_str(), "definition" | "spec"));
    let told = told.map(|(name, value)| match (name.as_str(), value.as_str()) {
        ("kind", Some(kind)) => kind.to_owned(),
        (_, Some(text)) => format!("{name}={text}"),
        (_, None) => format!("{name}={value}"),
    });
    told.collect::<Vec<_>>().join(" ")
}
