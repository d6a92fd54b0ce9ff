//! Configuration files and `-D` options from any bytes; the first byte chooses the form.
#![no_main]

use std::path::Path;

use common::config::{Origin, Settings};
use libfuzzer_sys::fuzz_target;
use zk_server::config::load::{self, CommandLine};
use zk_server::config::members;

fuzz_target!(|data: &[u8]| {
    let [form, text @ ..] = data else { return };
    let (options, file) = match text.iter().position(|byte| *byte == 0) {
        Some(end) => (&text[..end], &text[end + 1..]),
        None => (&[][..], text),
    };
    let mut line = CommandLine::default();
    for word in String::from_utf8_lossy(options).split_whitespace() {
        line.take_option(word, Origin::CommandLine);
    }
    let read = match form % 2 {
        0 => Settings::from_properties(Path::new("zoo.cfg"), file),
        _ => Settings::from_toml(Path::new("zoo.toml"), file),
    };
    let Ok(read) = read else { return };
    let Ok(values) = load::put_together(&read, &line) else { return };
    for (name, _) in values.beginning_with("") {
        let _ = (values.flag(name), values.number::<i32>(name), values.items(name));
    }
    let _ = members::read(values.beginning_with(""), form & 2 != 0);
});
