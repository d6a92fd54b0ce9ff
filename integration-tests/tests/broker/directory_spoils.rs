//! Shell: what can be wrong with the files and directories that lie directly in a log directory, as a table.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Two log directories of a stopped broker; d0-0 and d2-0 are in the first, d1-0 and d3-0 in the second.
pub struct Dirs {
    /// The first of `log.dirs`.
    pub a: PathBuf,
    /// The second.
    pub b: PathBuf,
}

/// What is done to them.
type Spoil = Box<dyn Fn(&Dirs) -> Result<()> + Send + Sync>;

/// One way in which they are spoiled.
pub struct Case {
    /// What is wrong, in words.
    pub name: String,
    /// `log.dirs` where it is not both, with names relative to what both are in.
    pub log_dirs: &'static [&'static str],
    /// Does it.
    pub spoil: Spoil,
}

const BOTH: &[&str] = &["a", "b"];
const UNIQUE: &str = "0123456789abcdef0123456789abcdef";
const MARKER: &str = ".kafka_cleanshutdown";

fn case(
    name: impl Into<String>,
    spoil: impl Fn(&Dirs) -> Result<()> + Send + Sync + 'static,
) -> Case {
    Case {
        name: name.into(),
        log_dirs: BOTH,
        spoil: Box::new(spoil),
    }
}

/// All of them.
pub fn cases() -> Vec<Case> {
    let mut all = vec![case("nothing", |_| Ok(()))];
    all.extend(checkpoints());
    all.extend(meta_properties());
    all.extend(markers());
    all.extend(foreign_entries());
    all.extend(other_roles());
    all.extend(configured());
    all
}

/// Texts of a checkpoint that say little, nothing, or nonsense.
const TEXTS: [&str; 25] = [
    "",
    "0\n",
    "1\n0\n",
    "0\n1\n",
    "0\n1\nd0 0 5\n",
    "0\n1\nd0 0 -5\n",
    "0\n1\nd0 0 99999\n",
    "0\n1\nd0 x 5\n",
    "0\n2\nd0 0 7\nunknown 7 5\n",
    "0",
    "0\n0\n",
    "x\n0\n",
    "0\n-1\n",
    "0\nx\n",
    "0\n1\nd0 0 5",
    "0\r\n1\r\nd0 0 5\r\n",
    "0\n1\nd0 0 5\n\n",
    " 0\n1\nd0 0 5\n",
    "0\n 1\nd0 0 5\n",
    "0\n1\n d0 0 5\n",
    "0\n1\nd0  0\t5\n",
    "0\n2\nd0 0 5\n",
    "0\n2\nd0 0 5\nd0 0 6\n",
    "0\n1\nd0 0 99999999999999999999\n",
    "0\n1\nd0 0 5 6\n",
];

/// How many of them are tried on each file; all are on one, since the same code reads all.
const TRIED: usize = 9;

fn checkpoints() -> Vec<Case> {
    let mut all = Vec::new();
    for file in [
        "recovery-point-offset-checkpoint",
        "log-start-offset-checkpoint",
        "replication-offset-checkpoint",
        "cleaner-offset-checkpoint",
    ] {
        let tried = match file.starts_with("log-start") {
            true => TEXTS.len(),
            false => TRIED,
        };
        for text in &TEXTS[..tried] {
            all.push(case(format!("{file} {text:?}"), move |dirs| {
                write(&dirs.a.join(file), spoken_of(file, text))
            }));
        }
        all.push(case(format!("{file} of noise"), move |dirs| {
            write(&dirs.a.join(file), [0xff, 0, 0xfe, b'\n', 0x80])
        }));
        all.push(case(format!("no {file}"), move |dirs| {
            remove(&dirs.a.join(file))
        }));
        all.push(case(format!("a directory {file}"), move |dirs| {
            remove(&dirs.a.join(file))?;
            make(&dirs.a.join(file))
        }));
        all.push(case(format!("no {file} after a kill"), move |dirs| {
            remove(&dirs.a.join(MARKER))?;
            remove(&dirs.a.join(file))
        }));
        all.push(case(format!("a torn {file} after a kill"), move |dirs| {
            remove(&dirs.a.join(MARKER))?;
            write(&dirs.a.join(file), "0\n2\nd0 0")
        }));
        all.push(case(format!("leftover {file}.tmp"), move |dirs| {
            write(&dirs.a.join(format!("{file}.tmp")), "0\n1\nd0 0 1\n")
        }));
    }
    all
}

fn meta_properties() -> Vec<Case> {
    let file = "meta.properties";
    let mut all = Vec::new();
    // CLUSTER stands for the right cluster's id.
    for text in [
        "",
        "#\n",
        "version=0\n",
        "broker.id=0\nversion=0\ncluster.id=CLUSTER\n",
        "broker.id=0\ncluster.id=CLUSTER\n",
        "version=0\ncluster.id=CLUSTER\n",
        "broker.id=0\nversion=0\n",
        "broker.id=1\nversion=0\ncluster.id=CLUSTER\n",
        "broker.id=-1\nversion=0\ncluster.id=CLUSTER\n",
        "broker.id=x\nversion=0\ncluster.id=CLUSTER\n",
        "broker.id=\nversion=0\ncluster.id=CLUSTER\n",
        "broker.id=0\nversion=0\ncluster.id=other\n",
        "broker.id=0\nversion=0\ncluster.id=\n",
        "broker.id=0\nversion=1\ncluster.id=CLUSTER\n",
        "node.id=0\nversion=1\ncluster.id=CLUSTER\n",
        "node.id=0\nbroker.id=0\nversion=0\ncluster.id=CLUSTER\n",
        "node.id=5\nversion=0\ncluster.id=CLUSTER\n",
        "broker.id=0\nversion=2\ncluster.id=CLUSTER\n",
        "broker.id=0\nversion=x\ncluster.id=CLUSTER\n",
        "broker.id=0\nversion=-1\ncluster.id=CLUSTER\n",
        " broker.id : 0\r\nversion 0\r\ncluster.id=CLUSTER\r\n",
        "broker.id=0 \nversion=0\ncluster.id=CLUSTER\n",
        "broker.id=0\nversion=0\ncluster.id=CLUSTER \n",
        "broker.id=7\nbroker.id=0\nversion=0\ncluster.id=CLUSTER\n",
        "broker.id=0\nversion=0\ncluster.id=CLUSTER\nother=thing\n",
        "broker.id=0\nversion=0\ncluster.id=CLUSTER\ndirectory.id=MXYzJEXXSlC9dqYvpiyaSg\n",
        "broker.id=0\nversion=0\ncluster.id=CLUSTER\ndirectory.id=nonsense\n",
        "broker.id=0\nversion=0\ncluster.id=CLUS\\u12",
    ] {
        all.push(case(format!("{file} {text:?}"), move |dirs| {
            let path = dirs.a.join(file);
            let known = fs::read_to_string(&path)?;
            let cluster = known
                .lines()
                .find_map(|line| line.strip_prefix("cluster.id="));
            let cluster = cluster.context("no cluster.id")?;
            write(&path, text.replace("CLUSTER", cluster))
        }));
    }
    all.push(case(format!("no {file}"), move |dirs| {
        remove(&dirs.a.join(file))
    }));
    all.push(case(format!("no {file} anywhere"), move |dirs| {
        remove(&dirs.a.join(file))?;
        remove(&dirs.b.join(file))
    }));
    all.push(case(format!("a directory {file}"), move |dirs| {
        remove(&dirs.a.join(file))?;
        make(&dirs.a.join(file))
    }));
    all.push(case(format!("{file} of noise"), move |dirs| {
        write(&dirs.a.join(file), [0xff, 0, 0xfe, b'\n', 0x80])
    }));
    all.push(case(format!("leftover {file}.tmp"), move |dirs| {
        write(&dirs.a.join(format!("{file}.tmp")), "broker.id=9\n")
    }));
    all
}

fn markers() -> Vec<Case> {
    let mut all = Vec::new();
    for text in [
        "",
        "{",
        "{\"version\":0}",
        "{\"version\":0,\"brokerEpoch\":5}",
        "{\"version\":9,\"brokerEpoch\":5}",
        "{\"version\":0,\"brokerEpoch\":\"x\"}",
    ] {
        all.push(case(
            format!("marker of a clean stop {text:?}"),
            move |dirs| write(&dirs.a.join(MARKER), text),
        ));
    }
    all.push(case("no marker of a clean stop in one", |dirs| {
        remove(&dirs.a.join(MARKER))
    }));
    all.push(case("an empty directory for a marker", |dirs| {
        remove(&dirs.a.join(MARKER))?;
        make(&dirs.a.join(MARKER))
    }));
    all.push(case("a full directory for a marker", |dirs| {
        remove(&dirs.a.join(MARKER))?;
        make(&dirs.a.join(MARKER).join("x"))
    }));
    all.push(case("leftover marker.tmp", |dirs| {
        write(&dirs.a.join(format!("{MARKER}.tmp")), "x")
    }));
    all
}

fn foreign_entries() -> Vec<Case> {
    let mut all = Vec::new();
    for name in [
        "x",
        "a-b",
        "-1",
        "-",
        "topic-",
        "--",
        "lost+found",
        "d9-0",
        "d9-007",
        "d9-+5",
        "d9--1",
        "d9-2147483648",
        "a b-0",
        "é-0",
        "d0-0.",
        "d0-0.x",
        "d0-1",
        "d0-0-delete",
        "d0-0.-delete",
        "x-0.abc-delete",
        "x.abc-delete",
        "a b-0.abc-delete",
        "x-0.a.b-delete",
        "x-0.abc-stray",
        "x-0-stray",
        "x-0-future",
        "remote-log-index-cache",
        "__cluster_metadata-0",
        "__cluster_metadata-3",
        "__cluster_metadata-x",
        "@metadata-0",
        ".hidden",
        ".hidden-0",
    ] {
        all.push(case(format!("directory {name}"), move |dirs| {
            make(&dirs.a.join(name))
        }));
    }
    all.push(case("files x, a-b, d9-0", |dirs| {
        for name in ["x", "a-b", "d9-0"] {
            write(&dirs.a.join(name), "x")?;
        }
        Ok(())
    }));
    all.push(case(
        "symlinks to a file, to nothing, and to a log",
        |dirs| {
            symlink("meta.properties", dirs.a.join("file"))?;
            symlink("nowhere", dirs.a.join("d8-0"))?;
            let moved = dirs.a.with_file_name("moved");
            fs::rename(dirs.a.join("d0-0"), &moved)?;
            Ok(symlink(moved, dirs.a.join("d0-0"))?)
        },
    ));
    all.push(case("a symlink to an odd directory", |dirs| {
        Ok(symlink("/tmp", dirs.a.join("tmp"))?)
    }));
    all.push(case("a name that is not UTF-8", |dirs| {
        use std::os::unix::ffi::OsStrExt;
        make(&dirs.a.join(std::ffi::OsStr::from_bytes(b"d9\xff-0")))
    }));
    all.push(case(".lock a directory", |dirs| {
        remove(&dirs.a.join(".lock"))?;
        make(&dirs.a.join(".lock"))
    }));
    all.push(case(".lock gone, or full", |dirs| {
        remove(&dirs.a.join(".lock"))?;
        write(&dirs.b.join(".lock"), "4711")
    }));
    all.push(case("directories and files in a log", |dirs| {
        make(&dirs.a.join("d0-0").join("x"))?;
        make(&dirs.a.join("d0-0").join("d0-0"))?;
        write(&dirs.a.join("d0-0").join("x.log.txt"), "x")?;
        write(&dirs.a.join("d0-0").join("y"), "x")
    }));
    all.push(case("a log is a file", |dirs| {
        fs::remove_dir_all(dirs.a.join("d0-0"))?;
        write(&dirs.a.join("d0-0"), "x")
    }));
    all.push(case("a log is gone", |dirs| {
        Ok(fs::remove_dir_all(dirs.a.join("d0-0"))?)
    }));
    all
}

fn other_roles() -> Vec<Case> {
    let mut all = Vec::new();
    for suffix in ["delete", "future", "stray"] {
        all.push(case(
            format!("a copy of d0-0 in b as {suffix}"),
            move |dirs| {
                let to = dirs.b.join(format!("d0-0.{UNIQUE}-{suffix}"));
                copy(&dirs.a.join("d0-0"), &to)
            },
        ));
        all.push(case(format!("d0-0 only as {suffix}"), move |dirs| {
            let to = dirs.a.join(format!("d0-0.{UNIQUE}-{suffix}"));
            Ok(fs::rename(dirs.a.join("d0-0"), to)?)
        }));
        all.push(case(format!("d0-0 twice as {suffix}"), move |dirs| {
            for (dir, unique) in [(&dirs.a, "x"), (&dirs.b, "y")] {
                let to = dir.join(format!("d0-0.{unique}{UNIQUE}-{suffix}"));
                copy(&dirs.a.join("d0-0"), &to)?;
            }
            Ok(())
        }));
    }
    all.push(case("the same log in both", |dirs| {
        copy(&dirs.a.join("d0-0"), &dirs.b.join("d0-0"))
    }));
    all.push(case("a log moved to the other", |dirs| {
        Ok(fs::rename(dirs.a.join("d0-0"), dirs.b.join("d0-0"))?)
    }));
    all
}

fn configured() -> Vec<Case> {
    let with = |name: &str, log_dirs, spoil: fn(&Dirs) -> Result<()>| Case {
        name: name.to_owned(),
        log_dirs,
        spoil: Box::new(spoil),
    };
    let nothing = |_: &Dirs| Ok(());
    vec![
        with("the same twice", &["a", "a", "b"], nothing),
        with(
            "the same twice, written otherwise",
            &["a", "b", "a/../a/"],
            nothing,
        ),
        with("one more that is not there", &["a", "b", "new"], nothing),
        with(
            "one more below what is not there",
            &["a", "b", "new/below"],
            nothing,
        ),
        with("one within another", &["a", "b", "a/inner-0"], nothing),
        with("only one of both", &["a"], nothing),
        with("the other way round", &["b", "a"], nothing),
        with("one is a file", &["a", "b", "file"], |dirs| {
            write(&dirs.a.with_file_name("file"), "x")
        }),
        with("one is below a file", &["a", "b", "file/c"], |dirs| {
            write(&dirs.a.with_file_name("file"), "x")
        }),
        with("only a file", &["file"], |dirs| {
            write(&dirs.a.with_file_name("file"), "x")
        }),
        with("a symlink to another", &["a", "b", "link"], |dirs| {
            Ok(symlink("a", dirs.a.with_file_name("link"))?)
        }),
        with("a symlink instead", &["link", "b"], |dirs| {
            Ok(symlink("a", dirs.a.with_file_name("link"))?)
        }),
        with("of different clusters", BOTH, |dirs| {
            let path = dirs.b.join("meta.properties");
            let text = fs::read_to_string(&path)?.replace("cluster.id=", "cluster.id=x");
            write(&path, text)
        }),
        with("of different brokers", BOTH, |dirs| {
            let path = dirs.b.join("meta.properties");
            let text = fs::read_to_string(&path)?.replace("broker.id=0", "broker.id=3");
            write(&path, text)
        }),
    ]
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Not every broker has left every file.
fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

fn make(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    make(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Only d2 is compacted.
fn spoken_of(file: &str, text: &str) -> String {
    match file.starts_with("cleaner") {
        true => text.replace("d0", "d2"),
        false => text.to_owned(),
    }
}
