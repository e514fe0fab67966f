use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::*;

const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const BASE64: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> std::io::Result<Self> {
        let path =
            std::env::temp_dir().join(format!("service-identity-{}-{name}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn key_file(&self) -> PathBuf {
        self.0.join("sub").join("deployment.key")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn hex_and_base64_are_the_same_key() -> Result<(), Error> {
    let a = DeploymentKeys::parse(&format!("1:{HEX}"))?;
    for text in [
        format!("# a comment\n\n 1 : {BASE64} \n"),
        format!("1:{}", BASE64.trim_end_matches('=')),
        format!("1:{}", HEX.to_uppercase()),
    ] {
        let b = DeploymentKeys::parse(&text)?;
        assert_eq!((a.namespace(), a.check_value()), (b.namespace(), b.check_value()), "{text}");
    }
    Ok(())
}

#[test]
fn ids_never_change() -> Result<(), Error> {
    // Computed by another program from the description: a change here would break the deduplication
    // of every running deployment.
    let keys = DeploymentKeys::parse(&format!("1:{HEX}"))?;
    let aggregate = Uuid::from_u128(7);
    assert_eq!(keys.namespace().to_string(), "51961e2b-f2b1-4d5d-8ef4-17d139171ac2");
    assert_eq!(
        keys.command_id("anonymous", "alpha", aggregate, "k1").to_string(),
        "f6b97529-1cbe-5258-bdd7-c166983531fa"
    );
    assert_eq!(
        keys.create_id("anonymous", "alpha", "k1").to_string(),
        "524ef727-5c30-58b3-a3ec-22ab37ccc312"
    );
    assert_eq!(keys.actor_id("anonymous").to_string(), "9f22ccc0-d5e4-51f1-a38b-c8e1ef896265");
    assert_eq!(keys.check_value(), "1:307317d71ed3bb88718a49448eb45a3f");
    let (_, fingerprint) = keys.fingerprints("make", b"{}")[0];
    assert_eq!(
        HEXLOWER.encode(&fingerprint),
        "004f196ceca54a0ca96be662b9cea07bdbee1845882588b568cc63a2547f8eb1"
    );
    Ok(())
}

#[test]
fn every_part_counts_and_parts_do_not_run_together() -> Result<(), Error> {
    let keys = DeploymentKeys::parse(&format!("1:{HEX}"))?;
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    let mut ids = vec![
        keys.command_id("p", "c", one, "k"),
        keys.command_id("q", "c", one, "k"),
        keys.command_id("p", "d", one, "k"),
        keys.command_id("p", "c", two, "k"),
        keys.command_id("p", "c", one, "l"),
        keys.command_id("pc", "", one, "k"),
        keys.command_id("", "pc", one, "k"),
        keys.create_id("p", "c", "k"),
        keys.create_id("pc", "", "k"),
        keys.create_id("p", "", "ck"),
        keys.actor_id("p"),
    ];
    let all = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), all);
    assert_ne!(keys.fingerprints("ab", b"c"), keys.fingerprints("a", b"bc"));
    Ok(())
}

#[test]
fn a_new_key_changes_fingerprints_and_no_id() -> Result<(), Error> {
    let other = "f".repeat(64);
    let before = DeploymentKeys::parse(&format!("1:{HEX}"))?;
    let after = DeploymentKeys::parse(&format!("2:{other}\n1:{HEX}"))?;
    assert_eq!(before.namespace(), after.namespace());
    assert_eq!(before.check_value(), after.check_value());
    assert_eq!((before.current_number(), after.current_number()), (1, 2));
    let (old, new) = (before.fingerprints("make", b"{}"), after.fingerprints("make", b"{}"));
    assert_eq!(new.iter().map(|(number, _)| *number).collect::<Vec<_>>(), vec![2, 1]);
    assert_eq!(new[1], old[0]);
    assert_ne!(new[0].1, old[0].1);
    assert_ne!(DeploymentKeys::parse(&format!("1:{other}"))?.check_value(), before.check_value());
    Ok(())
}

#[test]
fn nothing_shows_a_key() -> Result<(), Error> {
    let keys = DeploymentKeys::parse(&format!("1:{HEX}"))?;
    let shown = format!("{keys:?} {}", keys.check_value());
    assert!(shown.contains("[1]") && !shown.contains("00010203"), "{shown}");
    let error = DeploymentKeys::parse(&format!("1:{HEX}ff"))
        .err()
        .map(|error| format!("{error} {error:?}"))
        .unwrap_or_default();
    assert!(error.contains("line 1") && !error.contains("00010203"), "{error}");
    Ok(())
}

#[test]
fn bad_lines_are_refused_with_their_number() {
    let short = &HEX[2..];
    let umlauts = "ü".repeat(32);
    let cases = [
        format!("1{HEX}"),
        format!("0:{HEX}"),
        format!("65536:{HEX}"),
        format!("one:{HEX}"),
        format!("1:{short}"),
        format!("1:g{}", &HEX[1..]),
        format!("1:{BASE64}AAAA"),
        format!("1:{umlauts}"),
        "1:".to_owned(),
    ];
    for case in cases {
        assert!(
            matches!(DeploymentKeys::parse(&format!("\n{case}")), Err(Error::Line { line: 2 })),
            "{case}"
        );
    }
    assert!(matches!(DeploymentKeys::parse("# nothing\n"), Err(Error::Empty)));
    assert!(matches!(
        DeploymentKeys::parse(&format!("3:{HEX}\n3:{HEX}")),
        Err(Error::Twice { number: 3 })
    ));
}

#[test]
fn a_made_file_is_private_and_read_again() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Folder::new("made")?;
    let path = folder.key_file();
    let made = DeploymentKeys::create_or_load(&path)?;
    let again = DeploymentKeys::create_or_load(&path)?;
    assert_eq!(made.namespace(), again.namespace());
    assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.0.join("sub"))?.count(), 1, "nothing is left beside");
    let other = Folder::new("other")?;
    assert_ne!(DeploymentKeys::create_or_load(&other.key_file())?.namespace(), made.namespace());
    Ok(())
}

#[test]
fn those_who_make_it_at_once_agree() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Folder::new("race")?;
    let path = folder.key_file();
    let makers: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                DeploymentKeys::create_or_load(&path).map(|keys| keys.namespace())
            })
        })
        .collect();
    let mut seen = Vec::new();
    for maker in makers {
        seen.push(maker.join().map_err(|_| "a maker panicked")??);
    }
    seen.dedup();
    assert_eq!(seen.len(), 1);
    Ok(())
}

#[test]
fn a_file_that_others_can_reach_is_refused_with_its_mode() -> Result<(), Box<dyn std::error::Error>>
{
    let folder = Folder::new("mode")?;
    let path = folder.key_file();
    DeploymentKeys::create_or_load(&path)?;
    for mode in [0o640, 0o604, 0o620, 0o601] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
        let error = DeploymentKeys::create_or_load(&path)
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        assert!(error.contains(&format!("{mode:04o}")) && error.contains("chmod 600"), "{error}");
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o400))?;
    assert!(DeploymentKeys::load(&path).is_ok());
    Ok(())
}
