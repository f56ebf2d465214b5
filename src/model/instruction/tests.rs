use super::*;

#[test]
fn a_definition_with_secrets_is_not_shown_by_debug() {
    let create = Instruction::create("web", Source::Cli, "password: hunter2");
    assert!(!format!("{create:?}").contains("hunter2"));
}
