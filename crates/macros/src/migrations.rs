//! `migrations!()`: the files of a folder, in the program.

use std::path::{Path, PathBuf};

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::LitStr;

const DEFAULT: &str = "migrations";
/// So many digits fit into the column that keeps the version.
const MOST_DIGITS: usize = 9;

pub fn expand(folder: Option<&LitStr>) -> syn::Result<TokenStream> {
    let span = folder.map_or_else(Span::call_site, LitStr::span);
    let name = folder.map_or_else(|| DEFAULT.to_owned(), LitStr::value);
    let root = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from).unwrap_or_default();
    let files = read(&root.join(name)).map_err(|error| syn::Error::new(span, error))?;
    let migrations = files.iter().map(|File { number, name, path }| {
        quote! {
            ::highwater::Migration {
                number: #number,
                name: #name,
                sql: ::core::include_str!(#path),
            }
        }
    });
    Ok(quote!({
        const ALL: &[::highwater::Migration] = &[#(#migrations),*];
        ALL
    }))
}

#[derive(Debug, PartialEq)]
struct File {
    number: u32,
    name: String,
    path: String,
}

/// Its SQL files, by number. `Err`: what is wrong, and what is allowed.
fn read(folder: &Path) -> Result<Vec<File>, String> {
    let shown = folder.display();
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{shown}: {error}"))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| format!("{shown}: {error}"))?.path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let file = path.file_stem().and_then(|stem| stem.to_str()).and_then(named);
        let (Some((number, name)), Some(text)) = (file, path.to_str()) else {
            let path = path.display();
            return Err(format!(
                "{path}: a migration is called like 0001_vouchers.sql: a number from 1 of at most \
                 {MOST_DIGITS} digits, an underscore, and lower-case letters, digits and \
                 underscores"
            ));
        };
        files.push(File { number, name, path: text.to_owned() });
    }
    files.sort_by_key(|file| file.number);
    let twice = files.windows(2).find(|pair| pair[0].number == pair[1].number);
    match twice {
        Some(pair) => Err(format!("{} and {} have one number", pair[0].path, pair[1].path)),
        None => Ok(files),
    }
}

fn named(stem: &str) -> Option<(u32, String)> {
    let (number, name) = stem.split_once('_')?;
    let fits =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    let digits = number.len() <= MOST_DIGITS && number.chars().all(|c| c.is_ascii_digit());
    let number = number.parse().ok().filter(|number| digits && *number > 0)?;
    (!name.is_empty() && name.chars().all(fits)).then(|| (number, name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_number_first() {
        assert_eq!(named("0001_vouchers"), Some((1, "vouchers".to_owned())));
        assert_eq!(named("1003_a_2"), Some((1003, "a_2".to_owned())));
        for other in ["vouchers", "0_a", "1_", "1_A", "+1_a", "1234567890_a", "1_a.down", "-1_a"] {
            assert_eq!(named(other), None, "{other}");
        }
    }

    #[test]
    fn files_come_by_number_and_others_are_left_alone() {
        let folder = std::env::temp_dir().join(format!("highwater-macros-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        for file in ["10_b.sql", "2_a.sql", "README.md"] {
            std::fs::write(folder.join(file), "").unwrap();
        }
        let numbers = |found: Result<Vec<File>, String>| {
            found.map(|all| all.iter().map(|f| f.number).collect())
        };
        assert_eq!(numbers(read(&folder)), Ok(vec![2, 10]));
        std::fs::write(folder.join("02_again.sql"), "").unwrap();
        let twice = numbers(read(&folder)).unwrap_err();
        assert!(twice.ends_with("have one number"), "{twice}");
        std::fs::write(folder.join("x.sql"), "").unwrap();
        let unnamed = numbers(read(&folder)).unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        assert!(unnamed.contains("x.sql: a migration is called like"), "{unnamed}");
        let missing = numbers(read(&folder)).unwrap_err();
        assert!(missing.starts_with(&folder.display().to_string()), "{missing}");
    }
}
