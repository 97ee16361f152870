//! Reads the vectors beside this file: hexadecimal octets, and comments from `#` to the end of the line.

use std::fs;
use std::path::Path;

/// Every vector: the file's name without ending, and its octets.
pub(crate) fn vectors() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let mut vectors: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "hex"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, octets(&fs::read_to_string(path).unwrap()))
        })
        .collect();
    vectors.sort();
    vectors
}

fn octets(text: &str) -> Vec<u8> {
    let without_comments = text.lines().map(|line| line.split('#').next().unwrap());
    without_comments.flat_map(str::split_whitespace).map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}
