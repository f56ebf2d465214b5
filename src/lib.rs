//! riklet, the node agent of a RIK cluster.
//!
//! A scheduler says what should run on this node; riklet writes that down, makes it true with
//! runc, keeps it true across crashes and reboots, and reports every change. This page is the
//! tour; each module's own page says what it owns and what must never happen in it.
//!
//! # The path of an instruction
//!
//! ```text
//!  scheduler ──gRPC──▶ session ─┐                      ┌─▶ runc, conmon     (runtime)
//!  files ─────▶ manifests ──────┤                      │
//!  riklet CLI ─unix──▶ api ─────┤ Instruction          ├─▶ skopeo, umoci    (image)
//!                               ▼                      ├─▶ netns            (network)
//!                            intake                    └─▶ cgroupfs
//!                               │ Event                      ▲ Node verbs
//!                               ▼                            │
//!              ledger: journal ──fold──▶ store (sled)        │
//!                               │ records                    │
//!                               ▼                            │
//!            reconciler: observe ─▶ plan ─▶ action ──▶ executor ─▶ outcome, an Event again
//!                               │
//!                               └─ outbox ─▶ reporter ─gRPC─▶ scheduler
//! ```
//!
//! 1. A [`session`], the [`manifests`] or the local [`api`] hands an
//!    [`Instruction`](model::instruction::Instruction) to the [`intake`], which judges it and
//!    writes what it comes to. It is *accepted* once that line is durable.
//! 2. The [`ledger`] writes every [`Event`](model::line::Event) as one line of the [`journal`],
//!    folds it ([`Fold`](model::fold::Fold)), and keeps the fold in the [`store`]. The loops know
//!    it only by the seam [`Book`](book::Book).
//! 3. The [`reconciler`] gives each instance one turn at a time: it observes, asks
//!    [`plan_instance`](plan::plan_instance) (pure) what to do, and executes that over the seam
//!    [`Node`](node::Node): an intent is durable before its effect, an end before what tells of
//!    it is removed. The real node is [`RealNode`](runtime::real_node::RealNode).
//! 4. A reported state is derived in one place ([`derive`](mod@model::derive)) and lies in the
//!    line that it results from. The [`reporter`] sends the durable ones in order, until the
//!    scheduler has acknowledged them.
//!
//! # Tasks
//!
//! The [`agent`] builds everything and starts: the reconciler's loop and its turns, the loop of
//! [`probes`] and hooks, the one of [`evictions`], the session (registration, instructions, the one sender), the manifests
//! directory ([`manifests`]), the local API, the samples ([`metrics`]), and one that tends degraded
//! modes. Two threads of the ledger sync the journal and own sled; one
//! thread reaps children ([`reaper`](runtime::reaper)). They speak through the ledger's fold,
//! [`Waker`](reconciler::Waker) and watch channels, never to each other.
//!
//! # Where to look
//!
//! | question | room |
//! |---|---|
//! | what is decided, and why? | [`plan`], [`intake`], [`model`] |
//! | what is on disk? | [`journal`], [`store`], `state/README.md` |
//! | how is a program run? | [`runtime`], [`image`] |
//! | what does the scheduler see? | [`wire`], [`session`], [`reporter`], `proto/README.md` |
//! | what does a person see? | [`cli`], [`view`] |

pub mod agent;
pub mod api;
pub mod book;
pub mod cli;
pub mod clock;
pub mod config;
pub mod error_chain;
pub mod evictions;
pub mod image;
pub mod intake;
pub mod journal;
pub mod ledger;
pub mod manifests;
pub mod metrics;
pub mod model;
pub mod network;
pub mod node;
pub mod plan;
pub mod probes;
pub mod reconciler;
pub mod reporter;
pub mod runtime;
pub mod session;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod view;
pub mod wire;
