//! Production Tool 2.0: the bookings of creative studios, many of them in one database, none able
//! to see another.
//!
//! Reading order: [`path`] shows a request's way on one screen; [`resources`] has a folder a noun,
//! with its type, its statements, its policy and its handlers; [`pages`] draws what the API answers;
//! [`app`] puts the rooms together.

pub mod app;
pub mod commands;
pub mod config;
pub mod custody;
#[cfg(feature = "demo")]
pub mod demo;
pub mod jobs;
pub mod metrics;
pub mod pages;
pub mod path;
pub mod people;
pub mod platform;
pub mod problems;
pub mod resources;
pub mod webhooks;
