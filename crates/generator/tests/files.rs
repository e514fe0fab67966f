//! What `highwater` writes, and that it leaves alone what is there. That it compiles, runs and
//! passes its own tests is shown by `tests/tests/generated.rs`.
#![expect(clippy::expect_used, reason = "a test that cannot go on must fail")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

type Test = Result<(), Box<dyn std::error::Error>>;

/// An empty folder of this test.
fn empty(test: &str) -> std::io::Result<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("generator").join(test);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn highwater(folder: &Path, arguments: &str) -> std::io::Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_highwater"));
    command.current_dir(folder).args(arguments.split(' ')).output()
}

/// What it said, having done it.
#[track_caller]
fn done(folder: &Path, arguments: &str) -> String {
    let output = highwater(folder, arguments).expect("the program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Why it did nothing.
#[track_caller]
fn refused(folder: &Path, arguments: &str) -> String {
    let before = files(folder);
    let output = highwater(folder, arguments).expect("the program runs");
    assert_eq!(output.status.code(), Some(2), "{arguments}");
    assert_eq!(files(folder), before, "{arguments}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// All files with their texts.
fn files(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let text = fs::read_to_string(&path).expect("a text");
            found.push((path, text));
        }
    }
    found.sort();
    found
}

fn checkout() -> String {
    format!("{}/../..", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_new_application_has_its_files_and_nothing_is_left_to_fill_in() -> Test {
    let folder = empty("new")?;
    let said = done(&folder, &format!("new gift-shop --path {}", checkout()));
    assert!(said.contains("make   gift-shop/src/lib.rs\n"), "{said}");
    assert!(said.ends_with(
        "next:\n  cd gift-shop\n  highwater add aggregate voucher\n  bin/test\n  bin/up\n"
    ));
    let app = folder.join("gift-shop");
    done(&app, "add aggregate gift-card");
    done(&app, "add command gift-card.give-away");
    done(&app, "add event gift-card.given-away");
    done(&app, "add projection card-changes --of gift-card");
    done(&app, "add view all-cards --of gift-card");
    for (path, text) in files(&app) {
        assert!(!text.contains("{{"), "{}", path.display());
    }
    let registered = fs::read_to_string(app.join("src/lib.rs"))?;
    let expected =
        "pub mod gift_card;\npub mod card_changes;\npub mod all_cards;\n// add: modules\n";
    assert!(registered.contains(expected), "{registered}");
    let lines = "    App::new(\"gift-shop\")
        .aggregate::<gift_card::GiftCard>(\"gift-cards\")
        .rows::<gift_card::GiftCardRow>()
        .project::<card_changes::CardChangesRow>()
        .list::<all_cards::AllCards>(\"/v1/all-cards\")
        // add: registrations\n";
    assert!(registered.contains(lines), "{registered}");
    let migrations: Vec<_> = files(&app.join("migrations"));
    let names = migrations.iter().filter_map(|(path, _)| path.file_name()?.to_str());
    assert_eq!(
        names.collect::<Vec<_>>(),
        ["0001_gift_cards.sql", "0002_card_changes.sql", "README.md"]
    );
    Ok(())
}

#[test]
fn by_version_it_depends_on_the_published_crate() -> Test {
    let folder = empty("version")?;
    done(&folder, "new shop");
    let manifest = fs::read_to_string(folder.join("shop/Cargo.toml"))?;
    let version = env!("CARGO_PKG_VERSION");
    let dependency =
        format!("highwater = {{ version = \"{version}\", features = [\"services\"] }}");
    assert!(manifest.contains(&dependency), "{manifest}");
    assert!(!folder.join("shop/Cargo.lock").exists());
    Ok(())
}

#[test]
fn dry_runs_say_what_would_be_done_and_do_nothing() -> Test {
    let folder = empty("dry")?;
    assert!(done(&folder, "new shop --dry-run").contains("make   shop/bin/test\n"));
    assert_eq!(files(&folder), []);
    done(&folder, "new shop");
    let before = files(&folder);
    let app = folder.join("shop");
    let said = done(&app, "add aggregate voucher --dry-run");
    let expected = "make   src/voucher.rs\nmake   migrations/0001_vouchers.sql\n\
                    change src/lib.rs: 3 new lines\n";
    assert_eq!(said, expected);
    assert_eq!(files(&folder), before);
    assert_eq!(said + "\nnext: bin/test\n", done(&app, "add aggregate voucher"));
    Ok(())
}

#[test]
fn what_cannot_be_done_is_said_and_nothing_is_changed() -> Test {
    let folder = empty("refused")?;
    assert!(refused(&folder, "add aggregate voucher").contains("is no application of Highwater"));
    assert!(refused(&folder, "new shop --path .").contains("is no checkout of Highwater"));
    assert!(refused(&folder, "new Shop").contains("lower-case words of letters and digits"));
    done(&folder, "new shop");
    assert!(refused(&folder, "new shop").contains("is there already"));
    let app = folder.join("shop");
    done(&app, "add aggregate voucher");
    assert!(refused(&app, "add aggregate voucher").contains("src/voucher.rs is there already"));
    assert!(refused(&app, "add aggregate fn").contains("is a word of Rust"));
    assert!(refused(&app, "add command redeem").contains("is no category and a name"));
    assert!(refused(&app, "add command ticket.redeem").contains("add the aggregate first"));
    assert!(
        refused(&app, "add command voucher.rename").contains("stands in src/voucher.rs already")
    );
    assert!(
        refused(&app, "add event voucher.archived").contains("stands in src/voucher.rs already")
    );
    // Another word that begins in the same way.
    done(&app, "add command voucher.re");
    done(&app, "add event voucher.redeemed");
    assert!(refused(&app, "add event voucher.redeemed").contains("already"));
    let rules = fs::read_to_string(app.join("src/voucher.rs"))?;
    fs::write(app.join("src/voucher.rs"), rules.replace("// add: decisions", ""))?;
    let said = refused(&app, "add command voucher.redeem");
    assert!(said.contains("src/voucher.rs has no line `// add: decisions`"), "{said}");
    Ok(())
}

#[test]
fn a_name_that_would_clash_is_refused_and_nothing_is_changed() -> Test {
    let folder = empty("clashes")?;
    for name in ["build", "core", "self"] {
        assert!(refused(&folder, &format!("new {name}")).contains("take"), "{name}");
    }
    done(&folder, "new shop");
    let app = folder.join("shop");
    done(&app, "add aggregate voucher");
    for (arguments, says) in [
        ("aggregate match", "is a word of Rust"),
        ("aggregate text", "would be the type `Text`"),
        ("aggregate option", "would be the type `Option`"),
        ("aggregate created", "would be the type `Created`"),
        ("aggregate operation", "a table cannot be called `operations`"),
        ("aggregate window --collection window", "a table cannot be called `window`"),
        // Plurals that are there.
        ("aggregate vouchers --collection vouchers", "shows something at /v1/vouchers already"),
        ("aggregate coupon --collection vouchers", "another one with --collection"),
        ("projection vouchers --of voucher", "0001_vouchers.sql has the table `vouchers` already"),
        ("projection pg-class --of voucher", "a table cannot be called `pg_class`"),
        ("view vouchers --of voucher", "shows something at /v1/vouchers already"),
        ("view page --of voucher", "would be the type `Page`"),
    ] {
        let said = refused(&app, &format!("add {arguments}"));
        assert!(said.contains(says), "{arguments}: {said}");
    }
    done(&app, "add projection coupons --of voucher");
    let said = refused(&app, "add aggregate coupon");
    assert!(said.contains("0002_coupons.sql has the table `coupons` already"), "{said}");
    done(&app, "add aggregate coupon --collection coupon-codes");
    Ok(())
}

#[test]
fn of_several_at_once_none_is_lost() -> Test {
    let folder = empty("at-once")?;
    done(&folder, "new shop");
    let app = folder.join("shop");
    done(&app, "add aggregate voucher");
    let events: Vec<String> = (0..8).map(|n| format!("add event voucher.e{n}")).collect();
    let both = std::thread::scope(|scope| {
        let adding = events.iter().map(|event| scope.spawn(|| highwater(&app, event)));
        let adding: Vec<_> = adding.collect();
        adding.into_iter().map(|one| one.join().expect("no panic")).collect::<Vec<_>>()
    });
    let rules = fs::read_to_string(app.join("src/voucher.rs"))?;
    for (n, output) in both.into_iter().enumerate() {
        assert!(output?.status.success());
        assert!(rules.contains(&format!("#[event(\"e{n}\")]")), "e{n}: {rules}");
    }
    Ok(())
}
