use crate::{
    asvs, client, register,
    setup::{Tool, provide},
    shop::{Shop, Trouble, say},
    tests,
};

/// Writes the register of resources and the page of requirements anew, the golden files by running the tests that compare
/// them (those with `golden` in their name), and the client, which is made of one of them.
pub(crate) fn run(shop: &Shop) -> Result<(), Trouble> {
    register::accept(shop)?;
    asvs::accept(shop)?;
    provide(shop, &[Tool::PostgreSql, Tool::Npm])?;
    client::provide(shop)?;
    let mut command = tests::command(shop);
    command
        .args(["--workspace", "golden"])
        .env("INSTA_UPDATE", "always")
        .env("TRYBUILD", "overwrite");
    tests::with_database(shop, &mut command)?;
    client::accept(shop)?;
    say("accepted: read the difference before you commit it");
    Ok(())
}
