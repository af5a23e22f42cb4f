use crate::{
    setup::{Tool, provide},
    shop::{Shop, Trouble, run as run_command},
};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The first of three ports: the server, one with small limits, the sign-in service's double
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// Ask the running server a few questions, then stop
    #[arg(long)]
    once: bool,
}

/// Builds the server as it is shipped, with the demonstration compiled in, and runs it.
pub(crate) fn run(shop: &Shop, arguments: &Arguments) -> Result<(), Trouble> {
    provide(shop, &[Tool::PostgreSql])?;
    let mut build = shop.cargo("build");
    build.args(["--release", "--package", "studio", "--features", "demo"]);
    run_command(&mut build)?;
    let mut demo = shop.command(shop.target.join("release/studio"));
    demo.args(["demo", "--port", &arguments.port.to_string()]);
    if arguments.once {
        demo.arg("--once");
    }
    run_command(&mut demo)
}
