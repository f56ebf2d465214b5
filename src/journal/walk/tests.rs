use super::*;
use crate::{
    journal::{frame, scan::scan},
    model::{
        ids::NodeUid,
        line::{Line, MIN_READER},
    },
    testing::builders::moment,
};

/// A segment's bytes, written by hand.
#[derive(Clone)]
pub(in crate::journal) struct Pages {
    pub(in crate::journal) first: Seq,
    pub(in crate::journal) next: Seq,
    pub(in crate::journal) sum: Sum,
    pub(in crate::journal) bytes: Vec<u8>,
    /// Where each line begins.
    pub(in crate::journal) begins: Vec<usize>,
}

impl Pages {
    /// A segment that continues from `prev`, so many bytes of the one before counting.
    pub(in crate::journal) fn after(first: Seq, prev: Sum, prev_bytes: u64) -> Self {
        Self::by(first, prev, prev_bytes, MIN_READER)
    }

    pub(in crate::journal) fn by(first: Seq, prev: Sum, prev_bytes: u64, min_reader: u32) -> Self {
        let mut pages = Self {
            first,
            next: first,
            sum: prev,
            bytes: Vec::new(),
            begins: Vec::new(),
        };
        pages.line(
            Event::SegmentHeader {
                format: FORMAT,
                min_reader,
                journal: "0f".repeat(16),
                node: NodeUid::from_entropy(1),
                first_seq: first,
                prev_sum: prev.to_string(),
                prev_bytes,
            },
            Some(first.saturating_sub(1)),
        );
        pages
    }

    pub(in crate::journal) fn start() -> Self {
        Self::after(1, Sum::START, 0)
    }

    /// The segment that follows this one in order.
    pub(in crate::journal) fn follow(&self) -> Self {
        Self::after(self.next, self.sum, self.len())
    }

    pub(in crate::journal) fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    pub(in crate::journal) fn line(&mut self, event: Event, durable: Option<Seq>) {
        let line = Line {
            seq: self.next,
            moment: moment(1_000),
            event,
            state: None,
            durable,
        };
        let (bytes, sum) = frame::encode(&line, self.sum).unwrap();
        self.begins.push(self.bytes.len());
        self.bytes.extend(bytes);
        self.sum = sum;
        self.next += 1;
    }

    pub(in crate::journal) fn lines(mut self, count: usize) -> Self {
        for _ in 0..count {
            self.line(Event::Drained {}, None);
        }
        self
    }

    /// Spoils the body of the line with this seq.
    pub(in crate::journal) fn spoil(mut self, seq: Seq) -> Self {
        let at = self.begins[usize::try_from(seq - self.first).unwrap()];
        self.bytes[at + 12] ^= 1;
        self
    }
}

fn walk(mut walk: Walk, segments: &[(&Pages, Counted)]) -> (Walk, Vec<Seq>) {
    let mut seqs = Vec::new();
    for (pages, counted) in segments {
        let placed = walk.segment(pages.first, scan(&pages.bytes), *counted);
        seqs.extend(placed.unwrap().iter().map(|p| p.line.seq));
    }
    (walk, seqs)
}

fn kinds(walk: &Walk) -> Vec<(&'static str, Seq, Option<Seq>)> {
    let name = |kind: &DamageKind| match kind {
        DamageKind::Bytes { .. } => "bytes",
        DamageKind::Truncated => "truncated",
        DamageKind::Missing => "missing",
        DamageKind::Misplaced => "misplaced",
        DamageKind::Unreadable { .. } => "unreadable",
        DamageKind::Snapshot { .. } => "snapshot",
    };
    let damage = walk.damage.iter();
    damage.map(|d| (name(&d.kind), d.first, d.last)).collect()
}

#[test]
fn segments_that_follow_each_other_are_one_journal() {
    let one = Pages::start().lines(3);
    let two = one.follow().lines(2);
    let (walk, seqs) = walk(
        Walk::new(None),
        &[
            (&one, Counted::Exactly(one.len())),
            (&two, Counted::Last(0)),
        ],
    );
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(kinds(&walk), []);
    assert_eq!(walk.tip(), (7, two.sum));
    assert_eq!(walk.durable, 4, "a header tells what was durable");
    assert!(walk.tail.is_none() && walk.identity.is_some());
    let end = walk.end.unwrap();
    assert_eq!((end.first, end.bytes, end.sealed), (5, two.len(), false));
}

#[test]
fn what_the_next_header_leaves_out_does_not_count() {
    let one = Pages::start().lines(3);
    let kept = Pages::start().lines(1);
    // A failed sync withdrew the last two lines; their numbers are not used again.
    let two = Pages::after(5, kept.sum, kept.len()).lines(1);
    let segments = [
        (&one, Counted::Exactly(kept.len())),
        (&two, Counted::Last(0)),
    ];
    let (walk, seqs) = walk(Walk::new(None), &segments);
    assert_eq!(seqs, [1, 2, 5, 6]);
    assert_eq!(kinds(&walk), []);
}

#[test]
fn bad_bytes_are_a_tail_above_what_is_durable_and_damage_below() {
    let mut pages = Pages::start().lines(3);
    pages.line(Event::Uncordoned {}, Some(3));
    let pages = pages.lines(1);
    let last = |bad: Seq, known: Seq| {
        let pages = pages.clone().spoil(bad);
        walk(Walk::new(None), &[(&pages, Counted::Last(known))])
    };
    // Line 5 says that 3 was durable.
    let (walked, seqs) = last(3, 0);
    assert_eq!(seqs, [1, 2, 4, 5, 6]);
    assert_eq!(kinds(&walked), [("bytes", 3, Some(3))]);
    assert!(walked.tail.is_none());

    let (walked, seqs) = last(4, 0);
    assert_eq!(seqs, [1, 2, 3]);
    assert_eq!(kinds(&walked), []);
    let tail = walked.tail.unwrap();
    assert_eq!(tail.offset, pages.begins[3] as u64);
    assert_eq!(tail.offset + tail.bytes, pages.len());

    // The store knows that 5 was durable.
    let (walked, seqs) = last(4, 5);
    assert_eq!(seqs, [1, 2, 3, 5, 6]);
    assert_eq!(kinds(&walked), [("bytes", 4, Some(4))]);
}

#[test]
fn bad_lines_side_by_side_are_one_damage_and_apart_are_two() {
    let pages = Pages::start().lines(6);
    let spoilt = pages.clone().spoil(3).spoil(4).spoil(6);
    let (walk, seqs) = walk(Walk::new(None), &[(&spoilt, Counted::All)]);
    assert_eq!(kinds(&walk), [("bytes", 3, Some(4)), ("bytes", 6, Some(6))]);
    assert_eq!(seqs, [1, 2, 5, 7]);
    let first = &walk.damage[0];
    assert_eq!(first.offset, pages.begins[2] as u64);
    assert_eq!(first.offset + first.bytes, pages.begins[4] as u64);
}

#[test]
fn a_half_line_at_the_end_of_an_ended_segment_is_damage() {
    let one = Pages::start().lines(3);
    let two = one.follow().lines(1);
    let mut cut = one.clone();
    cut.bytes.truncate(one.begins[3] + 5);
    let segments = [
        (&cut, Counted::Exactly(one.len())),
        (&two, Counted::Last(0)),
    ];
    let (walk, seqs) = walk(Walk::new(None), &segments);
    assert_eq!(seqs, [1, 2, 3, 5, 6]);
    assert!(walk.damage.iter().all(|d| d.first == 4));
    assert_eq!(walk.damage.last().unwrap().last, Some(4));
}

#[test]
fn a_segment_shorter_than_it_was_is_truncated() {
    let one = Pages::start().lines(3);
    let two = one.follow();
    let mut cut = one.clone();
    cut.bytes.truncate(one.begins[2]);
    let segments = [
        (&cut, Counted::Exactly(one.len())),
        (&two, Counted::Last(0)),
    ];
    let (walk, seqs) = walk(Walk::new(None), &segments);
    assert_eq!(seqs, [1, 2, 5]);
    assert_eq!(kinds(&walk), [("truncated", 3, Some(4))]);
}

#[test]
fn a_missing_segment_is_noticed_by_the_next_header() {
    let one = Pages::start().lines(2);
    let two = one.follow().lines(2);
    let three = two.follow().lines(1);
    let segments = [
        (&one, Counted::Exactly(one.len())),
        (&three, Counted::Last(0)),
    ];
    let (walked, seqs) = walk(Walk::new(None), &segments);
    assert_eq!(seqs, [1, 2, 3, 7, 8]);
    assert_eq!(kinds(&walked), [("missing", 4, Some(6))]);
    // The same for the first ones, unless a base has them.
    let (walked, _) = walk(Walk::new(None), &[(&three, Counted::Last(0))]);
    assert_eq!(kinds(&walked), [("missing", 1, Some(6))]);
    let base = Walk::new(Some((6, two.sum)));
    let (walked, _) = walk(base, &[(&three, Counted::Last(0))]);
    assert_eq!(kinds(&walked), []);
}

#[test]
fn an_unreadable_segment_is_damage_up_to_the_next_good_line() {
    let one = Pages::start().lines(2);
    let two = one.follow().lines(2);
    let three = two.follow().lines(1);
    let mut walked = Walk::new(None);
    walked.segment(1, scan(&one.bytes), Counted::All).unwrap();
    walked.unreadable(4, "it can't be read: EIO".to_owned());
    let lines = walked
        .segment(7, scan(&three.bytes), Counted::Last(0))
        .unwrap();
    assert_eq!(lines.len(), 2);
    assert_eq!(kinds(&walked), [("unreadable", 4, Some(6))]);
    assert!(walked.damage[0].in_doubt());
    walked.cover(5);
    assert!(walked.damage[0].in_doubt(), "the base lacks line 6");
    walked.cover(6);
    assert!(!walked.damage[0].in_doubt());
}

#[test]
fn damage_at_the_very_end_reaches_as_far_as_others_know() {
    let one = Pages::start().lines(2);
    let mut walked = Walk::new(None);
    walked.segment(1, scan(&one.bytes), Counted::All).unwrap();
    walked.unreadable(4, "gone".to_owned());
    assert_eq!(kinds(&walked), [("unreadable", 4, None)]);
    walked.end_damage_at(9);
    assert_eq!(kinds(&walked), [("unreadable", 4, Some(9))]);
}

#[test]
fn a_whole_line_in_a_place_that_is_not_its_own_is_not_taken() {
    let mut pages = Pages::start().lines(1);
    // Its sum holds, and its number skips one.
    pages.next += 1;
    let pages = pages.lines(1);
    let (walked, seqs) = walk(Walk::new(None), &[(&pages, Counted::All)]);
    assert_eq!(seqs, [1, 2]);
    assert_eq!(kinds(&walked), [("misplaced", 3, None)]);
    // A segment under another's name.
    let mut walked = Walk::new(None);
    let lines = walked.segment(7, scan(&Pages::start().bytes), Counted::All);
    assert_eq!(lines.unwrap(), []);
    assert_eq!(kinds(&walked), [("misplaced", 7, None)]);
}

#[test]
fn a_segment_twice_counts_once() {
    let one = Pages::start().lines(2);
    let segments = [(&one, Counted::All), (&one, Counted::All)];
    let (walked, seqs) = walk(Walk::new(None), &segments);
    assert_eq!(seqs, [1, 2, 3]);
    assert!(!walked.damage.is_empty());
}

#[test]
fn a_snapshot_of_other_lines_is_damage_and_loses_none() {
    let one = Pages::start().lines(3);
    let base = Walk::new(Some((3, Sum::START.next(b"another line"))));
    let (walked, seqs) = walk(base, &[(&one, Counted::Last(0))]);
    assert_eq!(seqs, [1, 2, 3, 4]);
    assert_eq!(kinds(&walked), [("snapshot", 4, Some(3))]);
    assert!(!walked.damage[0].in_doubt() && !walked.damage[0].loses_lines());
}

#[test]
fn what_a_newer_riklet_wrote_is_not_read_over() {
    let newer = Pages::by(1, Sum::START, 0, FORMAT + 1);
    let stopped = Walk::new(None).segment(1, scan(&newer.bytes), Counted::All);
    assert!(stopped.unwrap_err().detail.contains("needs reader"));

    let mut pages = Pages::start();
    let at = pages.bytes.len();
    let body =
        r#"{"seq":2,"at":"2026-01-01T00:00:00Z","up":1,"boot":"b","kind":"invented""#.to_owned();
    let sum = pages.sum.next(body.as_bytes());
    pages
        .bytes
        .extend(format!("{body},\"sum\":\"{sum}\"}}\n").bytes());
    let stopped = Walk::new(None).segment(1, scan(&pages.bytes), Counted::Last(0));
    assert!(stopped.unwrap_err().detail.contains("invented"));
    // Where it doesn't count, it says nothing.
    let mut walked = Walk::new(None);
    let lines = walked.segment(1, scan(&pages.bytes), Counted::Exactly(at as u64));
    assert_eq!(lines.unwrap().len(), 1);
}

#[test]
fn the_tip_is_the_bases_where_that_is_later() {
    let one = Pages::start().lines(1);
    let sum = Sum::START.next(b"x");
    let (walked, _) = walk(Walk::new(Some((9, sum))), &[(&one, Counted::Last(0))]);
    assert_eq!(walked.tip(), (9, sum));
}
