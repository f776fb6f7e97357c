//! Questions on a terminal.

use std::process::Command;

use crate::support::python;

#[test]
fn a_person_is_asked_for_what_is_not_given_and_keys_are_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/init/terminal.py");
    let program = env!("CARGO_BIN_EXE_autovalidate");
    let output = Command::new(python()).args([script, program]).current_dir(folder.path()).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}{}", String::from_utf8_lossy(&output.stderr));
    assert!(!told.contains("sb_secret_typed") && !told.contains("hf_typed0"), "{told}");
    assert!(told.contains("give the project's URL"), "a wrong answer is told: {told}");
    let env = std::fs::read_to_string(folder.path().join(".env")).unwrap();
    for line in [
        "SUPABASE_URL=https://typed.supabase.co",
        "SUPABASE_SERVICE_KEY=sb_secret_typed",
        "HF_TOKEN=hf_typed0",
        "HF_REPO=owner/given",
        "CONSOLE_URL=https://typed-app.fly.dev",
    ] {
        assert!(env.contains(&format!("\n{line}\n")), "{line} is missing in:\n{env}");
    }
    let fly = std::fs::read_to_string(folder.path().join("fly.toml")).unwrap();
    for line in ["app = \"typed-app\"", "primary_region = \"ams\"", "image = \"registry.example/a/b:1-fly\""]
    {
        assert!(fly.contains(line), "{line} is missing in:\n{fly}");
    }
}
