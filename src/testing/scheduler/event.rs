//! What a scheduler has to tell of a run; one JSON object each, as `--record` writes them.

use serde::Serialize;
use serde_json::Value;

/// Something that was received, sent or noticed.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A node registered.
    Registered {
        /// Its name.
        node: String,
        /// Its kernel's boot id.
        boot_id: String,
        /// Its riklet's version.
        version: String,
    },
    /// A node was refused for its name.
    NameTaken {
        /// The name.
        node: String,
    },
    /// A node's Register stream ended.
    Left {
        /// Its name.
        node: String,
    },
    /// The real scheduler's answer to a status without a Register stream.
    Forgotten {
        /// The node's name.
        node: String,
    },
    /// An instruction was sent.
    Sent {
        /// To whom.
        node: String,
        /// For which instance.
        instance: String,
        /// 0 CREATE, 1 DESTROY.
        action: i32,
        /// The definition's text as it was sent.
        definition: String,
    },
    /// A node's status arrived.
    Node {
        /// The node.
        node: String,
        /// Number of the status stream.
        stream: u64,
        /// The status' name.
        status: String,
        /// The sample.
        metrics: Value,
    },
    /// An instance's status arrived.
    Instance {
        /// The node.
        node: String,
        /// Number of the status stream.
        stream: u64,
        /// The instance's id.
        instance: String,
        /// The status' name.
        status: String,
        /// The reason, or empty.
        reason: String,
        /// The exit code, if one was sent.
        exit_code: Option<i32>,
        /// The generation.
        generation: u32,
        /// The state's seq.
        seq: u64,
        /// States dropped before this one.
        gap: u64,
        /// The metrics text, parsed.
        metrics: Value,
    },
    /// A status stream ended.
    StreamEnded {
        /// Its number.
        stream: u64,
        /// Messages that were read of it.
        count: u64,
        /// Was it answered with OK?
        acknowledged: bool,
    },
    /// A DESTROY was sent in answer to DESTROYING.
    DestroyedBack {
        /// The instance.
        instance: String,
    },
    /// A CREATE was sent in answer to PENDING.
    PlacedAgain {
        /// The instance.
        instance: String,
    },
    /// The node broke a rule.
    Violation {
        /// Which, in a sentence.
        rule: String,
    },
}
