//! Python with the packages by which tests read what we write: in an environment of the checkout's own.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    setup::{self, Tool},
    shop::{Shop, Trouble, run, say},
};

const FOLDER: &str = ".studio/python";
/// A calendar is read by somebody else's reader than ours.
const PACKAGES: [&str; 2] = ["icalendar==7.3.2", "tzdata==2026.6"];

/// Brings it, where it is not there as it must be.
pub(crate) fn provide(shop: &Shop) -> Result<(), Trouble> {
    environment(shop, &shop.path(FOLDER), &PACKAGES).map(drop)
}

/// An environment in a folder, with what `pip install` is told; gives its Python.
pub(crate) fn environment(
    shop: &Shop,
    folder: &Path,
    packages: &[&str],
) -> Result<PathBuf, Trouble> {
    let python = folder.join("bin/python");
    let said = folder.join("packages");
    let wanted = packages.join("\n");
    if std::fs::read_to_string(&said).is_ok_and(|there| there == wanted) {
        return Ok(python);
    }
    setup::provide(shop, &[Tool::Python])?;
    say(format_args!(
        "installing: {} into {}",
        packages.join(" "),
        folder.display()
    ));
    let mut make = Command::new("python3");
    run(make.args(["-m", "venv"]).arg(folder)).map_err(setup::as_setup)?;
    let mut install = Command::new(&python);
    install.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ]);
    run(install.args(packages)).map_err(setup::as_setup)?;
    std::fs::write(said, wanted)
        .map_err(|error| Trouble::setup("cannot note the packages", error))?;
    Ok(python)
}
