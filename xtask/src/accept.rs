use crate::{
    asvs, register,
    setup::{Tool, provide},
    shop::{Shop, Trouble, say},
    tests,
};

/// Writes the register of resources, the page of requirements and the golden files anew, the latter by running the tests that compare them: those with `golden` in
/// their name.
pub(crate) fn run(shop: &Shop) -> Result<(), Trouble> {
    register::accept(shop)?;
    asvs::accept(shop)?;
    provide(shop, &[Tool::PostgreSql])?;
    let mut command = tests::command(shop);
    command
        .args(["--workspace", "golden"])
        .env("INSTA_UPDATE", "always")
        .env("TRYBUILD", "overwrite");
    tests::with_database(shop, &mut command)?;
    say("accepted: read the difference before you commit it");
    Ok(())
}
