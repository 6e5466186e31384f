//! New connector projects: the SCIM connectors of `tests/plugins/scim`, with another name.
//!
//! They are embedded as they are, and those are built and tried with every change, so a template cannot rot. Templates
//! of their own, with comments in place of code, lost for that reason.

use std::path::Path;

use anyhow::{Context, bail};

use crate::tenant::is_name;

/// A language of the kit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Rust.
    Rust,
    /// JavaScript.
    JavaScript,
    /// Python.
    Python,
}

/// A file of a project: its path, its text, and what of the text is replaced.
type File = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

macro_rules! scim {
    ($file:literal) => {
        include_str!(concat!("../../../tests/plugins/scim/", $file))
    };
}

macro_rules! wit {
    ($($name:literal),*) => {
        [$((concat!("wit/", $name), include_str!(concat!("../../../wit/", $name)), &[])),*]
    };
}

const WIT: [File; 10] = wit![
    "clock.wit",
    "credentials.wit",
    "descriptor.wit",
    "http.wit",
    "log.wit",
    "settings.wit",
    "token-minting.wit",
    "types.wit",
    "user-closure.wit",
    "world.wit"
];
const RUST: [File; 6] = [
    ("Cargo.toml", include_str!("template/Cargo.toml.txt"), &[]),
    (
        "src/lib.rs",
        scim!("src/lib.rs"),
        &[(
            "            name: \"scim\".into(),\n            version",
            "            name: \"NAME\".into(),\n            version",
        )],
    ),
    ("src/target.rs", scim!("src/target.rs"), &[]),
    ("src/bindings.rs", scim!("src/bindings.rs"), &[("../../../wit", "wit")]),
    ("build.sh", include_str!("template/rust-build.sh"), &[]),
    (".gitignore", "/target\n/*.wasm\n", &[]),
];
const JAVASCRIPT: [File; 5] = [
    (
        "plugin.js",
        scim!("plugin.js"),
        &[(
            "      name: 'scim',\n      version",
            "      name: 'NAME',\n      version",
        )],
    ),
    ("build.mjs", scim!("build.mjs"), &[]),
    ("package.json", include_str!("template/package.json"), &[]),
    ("build.sh", include_str!("template/js-build.sh"), &[]),
    (".gitignore", "/node_modules\n/*.wasm\n", &[]),
];
const PYTHON: [File; 3] = [
    (
        "plugin.py",
        scim!("plugin.py"),
        &[(
            "            name=\"scim\",\n            version",
            "            name=\"NAME\",\n            version",
        )],
    ),
    ("build.sh", include_str!("template/python-build.sh"), &[]),
    (".gitignore", "/__pycache__\n/*.wasm\n", &[]),
];
const ALL: [File; 2] = [
    ("cases.toml", scim!("cases.toml"), &[]),
    ("README.md", include_str!("template/README.md"), &[]),
];

/// Writes a connector project into a folder that does not exist yet, or is empty.
///
/// # Errors
///
/// The name cannot name a plugin, there is something in the folder, or it cannot be written.
pub fn new_project(folder: &Path, name: &str, language: Language) -> anyhow::Result<()> {
    if !is_name(name) || name.ends_with('-') {
        bail!("{name:?} cannot name a connector; write [a-z][a-z0-9-]*, at most 63 characters");
    }
    let shown = folder.display();
    if folder.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        bail!("{shown} is not empty; nothing was written");
    }
    for (path, text) in project(name, language) {
        let path = folder.join(path);
        let write = || {
            std::fs::create_dir_all(path.parent().unwrap_or(folder))?;
            std::fs::write(&path, &text)
        };
        write().with_context(|| format!("cannot write {}", path.display()))?;
        if path.extension().is_some_and(|extension| extension == "sh") {
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
                .with_context(|| format!("cannot make {} a program", path.display()))?;
        }
    }
    Ok(())
}

fn project(name: &str, language: Language) -> Vec<(&'static str, String)> {
    let (files, main): (&[File], &str) = match language {
        Language::Rust => (&RUST, "`src/`"),
        Language::JavaScript => (&JAVASCRIPT, "`plugin.js`"),
        Language::Python => (&PYTHON, "`plugin.py`"),
    };
    let mut written = Vec::new();
    for (path, text, changes) in files.iter().chain(&ALL).chain(&WIT) {
        let mut text = (*text).to_owned();
        for (from, to) in *changes {
            debug_assert!(text.contains(from), "{path} has no {from:?}");
            text = text.replacen(from, to, 1);
        }
        // The contract's text is kept as it is, whatever words it uses.
        if !path.starts_with("wit/") {
            text = text.replace("NAME", name).replace("CRATE", &name.replace('-', "_"));
        }
        written.push((*path, text.replace("MAIN", main)));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_language_has_the_contract_and_the_name_and_nothing_left_to_fill_in() {
        for language in [Language::Rust, Language::JavaScript, Language::Python] {
            let files = project("my-target", language);
            let named = files.iter().filter(|(_, text)| text.contains("my-target")).count();
            assert!(named >= 3, "{language:?}");
            for (path, text) in files.iter().filter(|(path, _)| !path.starts_with("wit/")) {
                for word in ["NAME", "CRATE", "MAIN", "../../../wit"] {
                    assert!(!text.contains(word), "{path} has {word}");
                }
            }
            let wit = files.iter().filter(|(path, _)| path.starts_with("wit/")).count();
            let kept = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit"))
                .unwrap()
                .count();
            assert_eq!(wit, kept, "all of wit/ and no more");
        }
    }

    #[test]
    fn a_new_project_is_built_with_what_the_connectors_here_are_built_with() {
        let workspace = include_str!("../../../Cargo.toml");
        let generated = include_str!("template/Cargo.toml.txt");
        let line = |text: &str| {
            text.lines()
                .find(|line| line.starts_with("wit-bindgen"))
                .unwrap()
                .to_owned()
        };
        assert_eq!(line(generated), line(workspace));
        let pinned = scim!("requirements.txt");
        assert!(
            pinned.contains("componentize-js@0.23.0") && include_str!("template/package.json").contains("\"0.23.0\"")
        );
        let python = "componentize-py==0.25.1";
        assert!(pinned.contains(python) && include_str!("template/python-build.sh").contains(python));
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("mine"), "").unwrap();
        let error = new_project(folder.path(), "my-target", Language::Rust).unwrap_err();
        assert!(error.to_string().contains("is not empty"), "{error}");
        for name in ["", "My-Target", "1st", "a/b", "a-", &"a".repeat(64)] {
            assert!(
                new_project(&folder.path().join("new"), name, Language::Rust).is_err(),
                "{name}"
            );
        }
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}
