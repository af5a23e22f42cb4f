//! Programs that must not compile, each with the compiler's message. `compile_fail` in a doc would
//! pass on any error; these pass on the right one.

#[test]
fn unsafe_programs_do_not_compile() {
    let programs = trybuild::TestCases::new();
    programs.compile_fail("tests/refused/*.rs");
}
