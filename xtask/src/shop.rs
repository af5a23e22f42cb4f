use std::{
    env,
    fmt::Display,
    io::{self, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Why a verb did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// It did its work and found something.
    #[error("{0}")]
    Finding(String),
    /// It could not do its work.
    #[error("{0}")]
    Setup(String),
}

impl Trouble {
    pub(crate) fn setup(what: impl Display, error: impl Display) -> Self {
        Self::Setup(format!("{what}: {error}"))
    }
}

/// Prints a line. A reader who has gone away is no reason to stop.
pub(crate) fn say(line: impl Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// The checkout, and how commands are run in it.
pub(crate) struct Shop {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
}

impl Shop {
    /// Finds the checkout: `cargo run` says where the package `xtask` is.
    pub(crate) fn locate() -> Result<Self, Trouble> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map(PathBuf::from)
            .ok_or_else(|| Trouble::Setup("run it as `cargo x`".into()))?;
        let root = package.parent().unwrap_or(&package).to_owned();
        let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
        let target = root.join(target);
        Ok(Self { root, target })
    }

    pub(crate) fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        command
    }

    /// A cargo that does not know that another cargo started it: some build scripts run anew when
    /// what `cargo run` adds to the environment changes.
    pub(crate) fn cargo(&self, verb: &str) -> Command {
        let mut command = self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        for (name, _) in env::vars_os() {
            let Some(text) = name.to_str() else { continue };
            let of_package = ["CARGO_PKG_", "CARGO_MANIFEST_"]
                .iter()
                .any(|prefix| text.starts_with(prefix));
            if of_package || ["CARGO_BIN_NAME", "CARGO_CRATE_NAME"].contains(&text) {
                command.env_remove(&name);
            }
        }
        command.arg(verb);
        command
    }

    /// Whether a tool is there, asked for its version.
    pub(crate) fn has(&self, command: &mut Command) -> bool {
        command
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Files under the checkout, as the file system has them.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }
}

/// Runs a command whose output goes where ours goes.
pub(crate) fn run(command: &mut Command) -> Result<(), Trouble> {
    let shown = shown(command);
    let status = command
        .status()
        .map_err(|error| Trouble::setup(format_args!("cannot run `{shown}`"), error))?;
    if status.success() {
        return Ok(());
    }
    Err(Trouble::Finding(format!("`{shown}` failed ({status})")))
}

/// Runs a command and returns what it printed.
pub(crate) fn read(command: &mut Command) -> Result<String, Trouble> {
    let shown = shown(command);
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Trouble::setup(format_args!("cannot run `{shown}`"), error))?;
    if !output.status.success() {
        let status = output.status;
        return Err(Trouble::Setup(format!("`{shown}` failed ({status})")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A command as one would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let program = program.file_name().unwrap_or(program.as_os_str());
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| word.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
