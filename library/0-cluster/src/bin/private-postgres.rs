//! Runs a private PostgreSQL until its standard input closes.
//!
//! ```text
//! private-postgres FOLDER [NAME=VALUE…]
//! ```
//!
//! Prints the superuser's URL, which carries the password, as its only line.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use watertight_cluster::{Cluster, Options};

const USAGE: &str = "usage: private-postgres FOLDER [NAME=VALUE…]";

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let options = arguments.next().and_then(|folder| {
        let settings = arguments.map(setting).collect::<Option<Vec<_>>>()?;
        let mut options = Options::new(folder);
        options.settings = settings;
        Some(options)
    });
    let Some(options) = options else {
        let _ = writeln!(io::stderr(), "{USAGE}");
        return ExitCode::from(2);
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn setting(argument: OsString) -> Option<(String, String)> {
    let (name, value) = argument.to_str()?.split_once('=')?;
    Some((name.to_owned(), value.to_owned()))
}

fn run(options: &Options) -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Cluster::start(options)?;
    writeln!(io::stdout(), "{}", cluster.admin_url())?;
    io::stdout().flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}
