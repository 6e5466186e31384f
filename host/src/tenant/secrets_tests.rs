use std::fs;

use secrecy::ExposeSecret;

use super::*;
use crate::tenant::{HostConfig, Tenant};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("tenants/acme/deep")).unwrap();
        fs::create_dir_all(folder.path().join("tenants/other")).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("tenants").join(name)
    }

    fn put(&self, name: &str, content: &[u8]) {
        fs::write(self.path(name), content).unwrap();
        self.permit(name, 0o600);
    }

    fn permit(&self, name: &str, mode: u32) {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn reference(&self, text: &str) -> Result<SecretRef, String> {
        let file = self.path("acme.toml");
        let toml = format!("[connectors.c]\nplugin = \"p.wasm\"\nkeys = {{ signing = {text:?} }}\n");
        let tenant =
            Tenant::parse(&toml, &file, &HostConfig::default_for(self.0.path())).map_err(|error| error.to_string())?;
        Ok(tenant.connectors["c"].keys["signing"][0].clone())
    }

    fn resolve(&self, text: &str) -> Result<String, String> {
        let secret = self.reference(text)?.resolve().map_err(|error| error.to_string())?;
        Ok(secret.expose_secret().to_owned())
    }

    fn refusal(&self, text: &str) -> String {
        self.resolve(text).expect_err("must be refused")
    }
}

#[test]
fn a_file_is_read_each_time_and_loses_its_line_end() {
    let folder = Folder::new();
    folder.put("acme/token", b"s3cret\r\n");
    folder.put("acme/deep/token", b" keeps spaces \n\n");
    assert_eq!(folder.resolve("file:token").unwrap(), "s3cret");
    assert_eq!(folder.resolve("file:deep/token").unwrap(), " keeps spaces \n");
    let reference = folder.reference("file:token").unwrap();
    folder.put("acme/token", b"changed");
    assert_eq!(reference.resolve().unwrap().expose_secret(), "changed");
}

#[test]
fn a_reference_that_reaches_outside_is_refused_and_told_what_is_allowed() {
    let folder = Folder::new();
    folder.put("other/token", b"neighbour");
    let absolute = format!("file:{}", folder.path("other/token").display());
    for text in [
        "file:../other/token",
        "file:deep/../../other/token",
        "file:/etc/passwd",
        &absolute,
        "file:",
        "file:a\\b",
        "file:.",
    ] {
        let error = folder.refusal(text);
        assert!(
            error.contains("reaches outside the tenant") && error.contains("tenants/acme"),
            "{text}: {error}"
        );
    }
    for text in [
        "env:HOME",
        "env:EXEUNT_OTHER_TOKEN",
        "env:EXEUNT_ACME_",
        "env:EXEUNT_ACME_a",
        "env:EXEUNT_ACME",
        "env:",
    ] {
        let error = folder.refusal(text);
        assert!(
            error.contains("reaches outside") && error.contains("env:EXEUNT_ACME_NAME"),
            "{text}: {error}"
        );
    }
}

#[test]
fn a_link_may_stay_in_the_folder_but_not_leave_it() {
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    folder.put("other/token", b"neighbour");
    folder.put("acme/deep/token", b"own");
    symlink(folder.path("other/token"), folder.path("acme/out")).unwrap();
    symlink(folder.path("other"), folder.path("acme/folder")).unwrap();
    symlink("deep/token", folder.path("acme/in")).unwrap();
    for text in ["file:out", "file:folder/token"] {
        let error = folder.refusal(text);
        assert!(error.contains("link out of") && !error.contains("neighbour"), "{error}");
    }
    assert_eq!(folder.resolve("file:in").unwrap(), "own");
}

#[test]
#[cfg(target_os = "linux")]
fn a_link_that_takes_a_files_place_meanwhile_leads_nowhere() {
    use std::fs::{copy, rename};
    use std::os::unix::fs::symlink;
    let folder = Folder::new();
    folder.put("other/token", b"neighbour");
    folder.put("acme/own", b"own");
    folder.put("acme/token", b"own");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let swap = || {
        let at = |name: &str| folder.path(&format!("acme/{name}"));
        while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
            symlink(folder.path("other/token"), at("new")).unwrap();
            rename(at("new"), at("token")).unwrap();
            copy(at("own"), at("new")).unwrap();
            rename(at("new"), at("token")).unwrap();
        }
    };
    let mut read = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(swap);
        for _ in 0..5000 {
            match folder.resolve("file:token") {
                Ok(secret) if secret == "own" => read.0 += 1,
                Ok(_) => read.1 += 1,
                Err(error) => assert!(!error.contains("neighbour"), "{error}"),
            }
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(read.0 > 0 && read.1 == 0, "its own and another's: {read:?}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_pipe_is_not_waited_for() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let folder = Folder::new();
    folder.put("acme/token", b"own");
    mknodat(CWD, folder.path("acme/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let error = folder.refusal("file:pipe");
    assert!(error.contains("is not a file"), "{error}");
}

#[test]
fn a_file_that_others_can_read_is_refused_with_the_command_to_run() {
    let folder = Folder::new();
    folder.put("acme/token", b"s3cret");
    for mode in [0o640, 0o604, 0o620] {
        folder.permit("acme/token", mode);
        let error = folder.refusal("file:token");
        assert!(
            error.contains(&format!("mode {mode:o}")) && error.contains("chmod 600 "),
            "{error}"
        );
    }
    folder.permit("acme/token", 0o400);
    assert_eq!(folder.resolve("file:token").unwrap(), "s3cret");
}

#[test]
fn a_secret_that_is_missing_empty_or_no_text_says_so() {
    let folder = Folder::new();
    folder.put("acme/empty", b" \n");
    folder.put("acme/binary", b"\xff\xfe");
    for (text, expected) in [
        ("file:nothing", "there is no file"),
        ("file:empty", "is empty"),
        ("file:binary", "not UTF-8"),
        ("file:deep", "is not a file"),
        ("env:EXEUNT_ACME_NOT_SET_IN_ANY_TEST", "is not set"),
    ] {
        let error = folder.refusal(text);
        assert!(error.contains(expected), "{text}: {error}");
        assert!(error.contains("acme.toml:3: connectors.c.keys.signing: "), "{error}");
    }
    let nowhere = Folder::new();
    fs::remove_dir_all(nowhere.path("acme")).unwrap();
    assert!(nowhere.refusal("file:token").contains("there is no file"));
}

#[test]
fn a_pasted_secret_is_refused_and_not_repeated() {
    let folder = Folder::new();
    for text in ["hunter2hunter2", "-----BEGIN PRIVATE KEY-----", "vault:path"] {
        let error = folder.refusal(text);
        assert!(
            error.contains("must say where the secret is") && !error.contains(text),
            "{error}"
        );
    }
}

#[test]
fn limits_hold_at_and_one_past() {
    let folder = Folder::new();
    folder.put("acme/large", &vec![b'x'; MAX_SECRET_BYTES]);
    assert_eq!(folder.resolve("file:large").unwrap().len(), MAX_SECRET_BYTES);
    folder.put("acme/large", &vec![b'x'; MAX_SECRET_BYTES + 1]);
    assert!(folder.refusal("file:large").contains("over 65536 bytes"));
}

#[test]
fn a_variable_is_read_and_its_tenant_is_the_one_with_the_longest_name() {
    let folder = Folder::new();
    let read = |text: &str| {
        let reference = folder.reference(text).unwrap();
        reference
            .resolve_with(&|name| Some(format!("value of {name}").into()))
            .map_err(|error| error.to_string())
    };
    let token = read("env:EXEUNT_ACME_EU_WEST_TOKEN").unwrap();
    assert_eq!(token.expose_secret(), "value of EXEUNT_ACME_EU_WEST_TOKEN");

    let loaded_before = folder.reference("env:EXEUNT_ACME_EU_WEST_TOKEN").unwrap();
    for neighbour in ["acme-eu", "acme-eu-west"] {
        folder.put(&format!("{neighbour}.toml"), b"");
        let error = folder.refusal("env:EXEUNT_ACME_EU_WEST_TOKEN");
        assert!(error.contains("belong to the tenant `acme-eu"), "{error}");
        assert!(loaded_before.resolve_with(&|_| Some("stolen".into())).is_err());
        fs::remove_file(folder.path(&format!("{neighbour}.toml"))).unwrap();
    }
    folder.put("acme-e.toml", b"");
    assert!(read("env:EXEUNT_ACME_EU_WEST_TOKEN").is_ok());
}

#[test]
fn debug_and_display_show_the_reference_only() {
    let folder = Folder::new();
    folder.put("acme/token", b"s3cret");
    let reference = folder.reference("file:token").unwrap();
    assert_eq!(format!("{reference:?} {reference}"), "SecretRef(file:token) file:token");
    assert!(!format!("{:?}", reference.resolve().unwrap()).contains("s3cret"));
}
