//! Wrong programs, each with the message that the compiler refuses it with. The right program is
//! the example at the head of the crate, which runs.
//!
//! They are checked and never built: building the policies' language a second time takes minutes.

#[test]
fn golden_wrong_programs_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/wrong/*.rs");
}
