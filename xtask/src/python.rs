//! Python with the packages by which tests read what we write: in an environment of the checkout's own.

use std::process::Command;

use crate::{
    setup::{self, Tool},
    shop::{Shop, Trouble, run, say},
};

const FOLDER: &str = ".studio/python";
/// A calendar is read by somebody else's reader than ours.
const PACKAGES: [&str; 2] = ["icalendar==7.3.2", "tzdata==2026.6"];

/// Brings it, where it is not there as it must be.
pub(crate) fn provide(shop: &Shop) -> Result<(), Trouble> {
    let python = shop.path(FOLDER).join("bin/python");
    let said = shop.path(FOLDER).join("packages");
    let wanted = PACKAGES.join("\n");
    if std::fs::read_to_string(&said).is_ok_and(|there| there == wanted) {
        return Ok(());
    }
    setup::provide(shop, &[Tool::Python])?;
    say(format_args!(
        "installing: {} into {FOLDER}",
        PACKAGES.join(" ")
    ));
    let mut make = Command::new("python3");
    run(make.args(["-m", "venv"]).arg(shop.path(FOLDER))).map_err(setup::as_setup)?;
    let mut install = Command::new(python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    run(install.args(PACKAGES)).map_err(setup::as_setup)?;
    std::fs::write(said, wanted).map_err(|error| Trouble::setup("cannot note the packages", error))
}
