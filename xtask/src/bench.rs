use crate::{
    setup::{Tool, provide},
    shop::{Shop, Trouble, run as run_command},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Passed on: `--accept`, `--bookings N` …
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

/// Builds the server as it is shipped, fills a private PostgreSQL and measures.
pub(crate) fn run(shop: &Shop, arguments: &Arguments) -> Result<(), Trouble> {
    provide(shop, &[Tool::PostgreSql])?;
    let mut bench = shop.cargo("run");
    bench.args(["--release", "--package", "studio-bench", "--"]);
    run_command(bench.args(&arguments.words))
}
