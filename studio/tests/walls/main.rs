//! The walls, each proven by a test that fails when it is taken away: `docs/review.md` lists them.
//!
//! Every test has a world of its own: a database made from a migrated template, with two studios and
//! a person a role in each. Nothing is tested as owner or superuser; those only make the world.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

mod accounts;
mod acting;
mod agreement;
mod alerts;
mod alerts_page;
mod archive;
mod attackers;
mod audit;
mod availability;
mod bodies;
mod bookings;
mod brakes;
mod browsers;
mod calendar;
mod classes;
mod closing;
mod cluster_backups;
mod context;
mod doctor;
mod erasure;
mod events;
mod evidence;
mod exporting;
mod exports;
mod feeds;
mod freeze;
mod idempotency;
mod impact;
mod incidents;
mod incidents_page;
mod installing;
mod invariants;
mod leaving;
mod ledger;
mod ledger_page;
mod ledger_retention;
mod left_out;
mod legal_holds;
mod looks;
mod mails;
mod marker;
mod members;
mod metrics;
mod model;
mod notices;
mod on_duty;
mod openapi;
mod operators;
mod overload;
mod pages;
mod phases;
mod platform;
mod pool;
mod problems;
mod process;
mod projects;
mod ranks;
mod rates;
mod rates_shared;
mod reconciling;
mod refusals;
mod replay;
mod reports;
mod requests;
mod restoring;
mod retention;
mod rotation;
mod schema;
mod settings;
mod states;
mod strangers;
mod streaming;
mod tables;
mod taking;
mod telling;
mod telling_operators;
mod time;
mod vault;
mod webhooks;
mod worker;
mod world;
