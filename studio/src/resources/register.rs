// Written by `cargo x accept` from the folders that `mod.rs` names.

use super::Registered;

/// Every resource, by the name of its folder.
pub(super) const REGISTER: &[(&str, Registered)] = &[
    ("alerts", super::alerts::RESOURCE),
    ("artists", super::artists::RESOURCE),
    ("audit", super::audit::RESOURCE),
    ("bookings", super::bookings::RESOURCE),
    ("events", super::events::RESOURCE),
    ("exports", super::exports::RESOURCE),
    ("feeds", super::feeds::RESOURCE),
    ("holidays", super::holidays::RESOURCE),
    ("incidents", super::incidents::RESOURCE),
    ("legal_holds", super::legal_holds::RESOURCE),
    ("mails", super::mails::RESOURCE),
    ("members", super::members::RESOURCE),
    ("phases", super::phases::RESOURCE),
    ("projects", super::projects::RESOURCE),
    ("sessions", super::sessions::RESOURCE),
    ("studio", super::studio::RESOURCE),
    ("time_off", super::time_off::RESOURCE),
    ("webhooks", super::webhooks::RESOURCE),
];
