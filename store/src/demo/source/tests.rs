use std::{io::Write, path::Path};

use flate2::{Compression, write::GzEncoder};

use super::*;

#[derive(Debug, PartialEq, Eq, serde::Deserialize)]
struct Two {
    number: u64,
    name: Option<String>,
}

const TEXT: &str = "name,else,number\na,x,1\n\"b, c\",y,2\n,z,3\n";

fn source(bytes: &[u8]) -> Source {
    Source::BuiltIn { name: "file.csv", bytes: bytes.to_vec().leak() }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

fn read(source: &Source) -> Result<(Vec<(u64, Two)>, String), Error> {
    let mut rows = source.rows::<Two>()?;
    let mut read = Vec::new();
    while let Some(Row { line, row }) = rows.next()? {
        read.push((line, row));
    }
    Ok((read, rows.digest()))
}

/// With its causes.
fn refusal(bytes: &[u8]) -> String {
    highwater::runtime::process::chain(&read(&source(bytes)).unwrap_err()).to_string()
}

#[test]
fn columns_are_found_by_name_whatever_else_there_is() {
    let (rows, _) = read(&source(TEXT.as_bytes())).unwrap();
    let two = |number, name: &str| Two { number, name: Some(name.to_owned()) };
    assert_eq!(rows, [(2, two(1, "a")), (3, two(2, "b, c")), (4, Two { number: 3, name: None })]);
}

#[test]
fn gzip_reads_as_what_was_packed_and_has_its_digest() {
    let plain = read(&source(TEXT.as_bytes())).unwrap();
    assert_eq!(read(&source(&gzip(TEXT.as_bytes()))).unwrap(), plain);
    let (first, second) = TEXT.as_bytes().split_at(20);
    assert_eq!(
        read(&source(&[gzip(first), gzip(second)].concat())).unwrap(),
        plain,
        "in two members"
    );
}

#[test]
fn another_text_has_another_digest() {
    let digest = |text: &str| read(&source(text.as_bytes())).unwrap().1;
    assert_ne!(digest(TEXT), digest(&TEXT.replace('x', "y")));
    assert_eq!(digest("number\n").len(), 64);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_line_and_column() {
    assert!(refusal(b"name\na\n").contains("missing field `number`"), "{}", refusal(b"name\na\n"));
    let wrong = refusal(b"number,name\n1,a\nmany,b\n");
    assert!(wrong.contains("line: 3") && wrong.contains("invalid digit"), "{wrong}");
    let ragged = refusal(b"number,name\n1,a\n2\n");
    assert!(ragged.contains("line: 3"), "{ragged}");
    assert!(refusal(b"number,name\n1,\xff\n").contains("UTF-8"));
}

#[test]
fn a_gzip_that_ends_early_is_refused() {
    let packed = gzip(TEXT.as_bytes());
    let cut = &packed[..packed.len() - 6];
    assert!(read(&source(cut)).is_err());
}

#[test]
fn a_file_without_rows_is_read() {
    assert_eq!(read(&source(b"number,name\n")).unwrap().0, []);
    assert_eq!(read(&source(b"")).unwrap().0, []);
}

#[test]
fn what_is_no_file_is_wrong_usage() {
    for path in ["/nowhere/at/all.csv", "/", "/dev/null"] {
        let error = read(&Source::File(Path::new(path).to_owned())).unwrap_err();
        assert!(error.is_usage(), "{path}: {error}");
    }
}
