use std::io;

use super::*;

#[derive(Debug, thiserror::Error)]
#[error("cannot read {name}")]
struct Read {
    name: &'static str,
    source: io::Error,
}

#[test]
fn a_chain_is_one_line_from_what_was_tried_to_the_last_cause() {
    let error = Read {
        name: "x",
        source: io::Error::other("disk\n\tgone\x1b[31m"),
    };
    assert_eq!(one_line(&error), "cannot read x: disk; gone; [31m");
}

#[test]
fn a_cause_that_the_message_repeats_is_said_once() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot read: {0}")]
    struct Repeats(#[source] io::Error);
    let error = Repeats(io::Error::other("gone"));
    assert_eq!(one_line(&error), "cannot read: gone");
}
