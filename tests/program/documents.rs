//! README.md, CONTRIBUTING.md and docs/: what they link to is there, what they name exists, what they show is in the
//! examples, and what they say to type works.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::env::current_exe;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::common::{checkout, data_dir, python, stdout_of};
use pulldown_cmark::{CodeBlockKind, Event, HeadingLevel, Parser, Tag, TagEnd};
use tempfile::tempdir;

/// What documents put in backticks that is another project's, and nowhere in this one's sources.
const FOREIGN: [&str; 8] = [
    "foreach",
    "use_deterministic_algorithms",
    "env_logger",
    "MKL_ENABLE_INSTRUCTIONS",
    "INSTA_UPDATE",
    "accept",
    "perf",
    "clock",
];

/// What takes long, and what is run in its place. A test of scripts/test.sh would run itself.
const SHORTER: [(&str, &str); 14] = [
    ("scripts/reproduce.sh", "scripts/reproduce.sh --epochs 1"),
    ("scripts/test.sh --quick", "scripts/test.sh --help"),
    ("scripts/test.sh", "scripts/test.sh --help"),
    ("scripts/parity.sh", "scripts/parity.sh --epochs 1"),
    ("run=$(islp-mnist train --epochs 10 --lr 0.001)", "run=$(islp-mnist train --epochs 2 --lr 0.001)"),
    ("islp-mnist train --resume \"$run\" --epochs 30", "islp-mnist train --resume \"$run\" --epochs 3"),
    (
        "scripts/parity.sh --epochs 2 --seed 7 --batch-size 100 --num-workers 0",
        "scripts/parity.sh --epochs 1 --seed 7 --batch-size 100 --num-workers 0",
    ),
    ("scripts/bench.sh", "scripts/bench.sh --quick"),
    (
        "islp-mnist train --device cpu --generator cuda",
        "islp-mnist train --device cpu --generator cuda --epochs 1",
    ),
    (
        ".venv/bin/python scripts/photographs.py photographs --kinds all",
        ".venv/bin/python scripts/photographs.py photographs --kinds plain,board --per-digit 1",
    ),
    ("islp-mnist study --seeds 0..99", "islp-mnist study --seeds 0..1 --epochs 1"),
    (
        "islp-mnist study --model mlp --vary init --seeds 0..29",
        "islp-mnist study --model mlp --vary init --seeds 0..1 --epochs 1",
    ),
    (
        "islp-mnist study --seeds 0..99 --device cpu --output-dir study",
        "islp-mnist study --seeds 0..1 --epochs 1 --device cpu --output-dir study",
    ),
    (
        "islp-mnist study --seeds 0..29 --vary $source --device cpu --output-dir study",
        "islp-mnist study --seeds 0..1 --epochs 1 --vary $source --device cpu --output-dir study",
    ),
];

/// A document, by its path from the checkout.
struct Document {
    path: PathBuf,
    text: String,
}

/// A code block of a document.
#[derive(Debug)]
struct Block {
    line: usize,
    language: String,
    text: String,
    /// The file that it is the content of, unless it is commands: the paragraph above begins with its name.
    file: Option<String>,
}

/// README.md first, as the others say what to type after it.
fn documents() -> Vec<Document> {
    let docs = fs::read_dir(checkout().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let mut docs: Vec<_> = docs.map(|name| Path::new("docs").join(name)).collect();
    docs.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    docs.sort();
    let paths = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(PathBuf::from).into_iter().chain(docs);
    paths.map(|path| Document { text: fs::read_to_string(checkout().join(&path)).unwrap(), path }).collect()
}

impl Document {
    fn line_of(&self, offset: usize) -> usize {
        self.text[..offset].matches('\n').count() + 1
    }

    fn blocks(&self) -> Vec<Block> {
        let (mut blocks, mut block, mut file) = (vec![], None, None);
        let mut events = Parser::new(&self.text).into_offset_iter().peekable();
        while let Some((event, range)) = events.next() {
            match event {
                Event::Start(Tag::Paragraph) => {
                    file = match events.peek() {
                        Some((Event::Code(name), _)) if name.contains('.') => Some(name.to_string()),
                        _ => None,
                    };
                }
                Event::Start(Tag::Heading { .. }) => file = None,
                Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(language))) => {
                    let (line, language) = (self.line_of(range.start), language.to_string());
                    block = Some(Block { line, language, text: String::new(), file: file.take() });
                }
                Event::Text(text) => {
                    if let Some(block) = &mut block {
                        block.text += &text;
                    }
                }
                Event::End(TagEnd::CodeBlock) => blocks.extend(block.take()),
                _ => {}
            }
        }
        blocks
    }

    /// What a link to one of its headings has behind the `#`, as GitHub makes it.
    fn anchors(&self) -> HashSet<String> {
        let (mut anchors, mut seen, mut title) = (HashSet::new(), HashMap::new(), None);
        for event in Parser::new(&self.text) {
            match event {
                Event::Start(Tag::Heading { .. }) => title = Some(String::new()),
                Event::Text(text) | Event::Code(text) => {
                    title.iter_mut().for_each(|title| *title += &text);
                }
                Event::End(TagEnd::Heading(HeadingLevel::H1 | HeadingLevel::H2 | HeadingLevel::H3)) => {
                    let title = title.take().unwrap_or_default().to_lowercase();
                    let kept = title.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
                    let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
                    let count = seen.entry(anchor.clone()).and_modify(|count| *count += 1).or_insert(0);
                    anchors.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
                }
                _ => {}
            }
        }
        anchors
    }
}

/// The files that are tracked, or would be.
fn sources() -> Vec<PathBuf> {
    let mut git = Command::new("git");
    git.current_dir(checkout()).args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let paths = stdout_of(&mut git);
    let paths = paths.split_terminator('\0').map(PathBuf::from);
    paths.filter(|path| checkout().join(path).exists()).collect()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

#[test]
fn every_link_of_the_documents_leads_to_a_file_that_is_there_and_to_a_heading_of_it() {
    let documents = documents();
    let anchors: HashMap<&Path, HashSet<String>> =
        documents.iter().map(|document| (document.path.as_path(), document.anchors())).collect();
    let sources: HashSet<PathBuf> = sources().into_iter().collect();
    let mut dead = vec![];
    for document in &documents {
        for (event, range) in Parser::new(&document.text).into_offset_iter() {
            let (Event::Start(Tag::Link { dest_url, .. }) | Event::Start(Tag::Image { dest_url, .. })) =
                event
            else {
                continue;
            };
            if dest_url.contains("://") {
                continue;
            }
            let (path, anchor) = dest_url.split_once('#').unwrap_or((&dest_url, ""));
            let folder = document.path.parent().unwrap();
            let target = match path {
                "" => document.path.clone(),
                path => normal(&folder.join(path)),
            };
            let is_there = sources.contains(&target) || checkout().join(&target).is_dir();
            let leads = anchor.is_empty()
                || anchors.get(target.as_path()).is_some_and(|anchors| anchors.contains(anchor));
            if !is_there || !leads {
                dead.push(format!(
                    "{}:{}: {dest_url}",
                    document.path.display(),
                    document.line_of(range.start)
                ));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}

/// A path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path {
        if part == ".." {
            normal.pop()
        } else {
            normal.push(part);
            true
        };
    }
    normal
}

#[test]
fn every_path_that_documents_comments_and_messages_name_is_there() {
    const FOLDERS: [&str; 8] =
        ["src/", "python/", "scripts/", "tests/", "docs/", "examples/", "templates/", "benches/"];
    let mut dead = vec![];
    for source in sources() {
        let Ok(text) = fs::read_to_string(checkout().join(&source)) else { continue };
        // What a test makes up is its own.
        if source.starts_with("output")
            || source.starts_with("tests/data")
            || source.ends_with("tests/program/scripts.rs")
        {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let is_part = |c: char| is_word(c) || "./-=".contains(c);
            for word in line.split(|c: char| !is_part(c)) {
                let word = word.trim_start_matches("./").trim_start_matches("../").trim_end_matches('.');
                let is_path = FOLDERS.iter().any(|folder| word.starts_with(folder));
                let is_file = word.rsplit('/').next().is_some_and(|name| name.contains('.'));
                if is_path && is_file && !checkout().join(word).exists() {
                    dead.push(format!("{}:{}: {word}", source.display(), number + 1));
                }
            }
        }
    }
    assert!(dead.is_empty(), "files that are not there:\n{}", dead.join("\n"));
}

#[test]
fn every_name_in_backticks_is_in_the_sources() {
    // `OnlyInReference` is "only_in_reference" in JSON.
    let plain = |word: &str| word.replace('_', "").to_lowercase();
    let mut names = HashSet::new();
    for source in sources() {
        let is_document = source.extension().is_some_and(|extension| extension == "md");
        if !is_document {
            names.extend(source.to_string_lossy().split(|c: char| !is_word(c)).map(plain));
        }
        if !is_document && !source.ends_with("tests/program/documents.rs") {
            let text = fs::read_to_string(checkout().join(&source)).unwrap_or_default();
            names.extend(text.split(|c: char| !is_word(c)).map(plain));
        }
    }
    let mut gone = vec![];
    for document in documents() {
        for (event, range) in Parser::new(&document.text).into_offset_iter() {
            let Event::Code(code) = event else { continue };
            let words = code.split(|c: char| !is_word(c)).filter(|word| word.len() > 2);
            for word in words.filter(|word| !word.starts_with(|c: char| c.is_ascii_digit())) {
                if !names.contains(&plain(word)) && !FOREIGN.contains(&word) {
                    gone.push(format!(
                        "{}:{}: {word}",
                        document.path.display(),
                        document.line_of(range.start)
                    ));
                }
            }
        }
    }
    assert!(gone.is_empty(), "names that are nowhere in the sources:\n{}", gone.join("\n"));
}

/// Lines without their indentation.
fn unindented(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_the_documents_show_of_programs_is_in_the_examples() {
    let sources = sources();
    let texts = |extension: &str| -> Vec<String> {
        let is_example = |path: &&PathBuf| {
            (path.starts_with("examples") || path.starts_with("tests"))
                && path.extension().is_some_and(|other| other == extension)
        };
        sources
            .iter()
            .filter(is_example)
            .map(|path| unindented(&fs::read_to_string(checkout().join(path)).unwrap()))
            .collect()
    };
    let examples = BTreeMap::from([("rust", texts("rs")), ("python", texts("py"))]);
    for document in documents() {
        // What is the content of a file is compiled and run with the document's commands.
        for block in document.blocks().iter().filter(|block| block.file.is_none()) {
            let Some(examples) = examples.get(block.language.as_str()) else { continue };
            let is_there = examples.iter().any(|example| example.contains(&unindented(&block.text)));
            assert!(is_there, "{}:{}: in no example:\n{}", document.path.display(), block.line, block.text);
        }
    }
}

/// What bash is to run of a line: all of it, something shorter, or nothing, where it says that it needs more than the
/// Python reference.
fn to_run(line: &str) -> Option<String> {
    let (command, comment) = line.split_once(" #").unwrap_or((line, ""));
    if comment.trim_start().starts_with("needs ") {
        return None;
    }
    let (indentation, command) = command.split_at(command.len() - command.trim_start().len());
    let shorter = SHORTER.iter().find(|(long, _)| *long == command.trim_end());
    Some(format!("{indentation}{}", shorter.map_or(command, |(_, short)| short)))
}

/// The commands of the documents, as one would paste them into one shell, in the folder of a checkout.
fn script() -> String {
    let mut script =
        "set -euo pipefail\ncheckout=$PWD\ntrap 'echo \"failed: $BASH_COMMAND\"' ERR\n".to_string();
    for document in documents() {
        script += "cd \"$checkout\"\n";
        for block in document.blocks() {
            script += &format!("echo '--- {}:{}'\n", document.path.display(), block.line);
            if block.language == "sh" {
                for line in block.text.lines() {
                    script += &format!("{}\n", to_run(line).unwrap_or_default());
                }
            } else if let Some(file) = &block.file {
                script += &format!(
                    "mkdir -p \"$(dirname '{file}')\"\ncat >'{file}' <<'END OF BLOCK'\n{}END OF BLOCK\n",
                    block.text
                );
            }
        }
    }
    for (long, short) in SHORTER {
        assert!(script.lines().any(|line| line.trim_start() == short), "no document has {long:?}");
    }
    script
}

/// A checkout as a clone has it, with what scripts/setup.sh fetches, and with the dependencies already compiled.
fn fresh_checkout(folder: &Path) -> PathBuf {
    let copy = folder.join("islp-mnist");
    for source in sources() {
        let to = copy.join(&source);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(checkout().join(&source), to).unwrap();
    }
    for fetched in [".venv", "data"] {
        symlink(checkout().join(fetched), copy.join(fetched)).unwrap();
    }
    let release = current_exe().unwrap().parent().unwrap().parent().unwrap().to_path_buf();
    let target = copy.join("target/release");
    fs::create_dir_all(&target).unwrap();
    let _target_folder = crate::target_folder();
    for part in [".fingerprint", "build", "deps"] {
        assert!(
            Command::new("cp").arg("-a").args([&release.join(part), &target]).status().unwrap().success()
        );
    }
    // What is compiled again is compiled faster: here the program, because its folder is another; in the project of one's
    // own, which trains for a second, the library without its default features.
    let own = "[profile.release.package]\nislp-mnist.opt-level = 0\nzstd-sys.opt-level = 0\nbzip2-sys.opt-level = 0\n";
    let here = "\n[profile.release.package]\nislp-mnist.opt-level = 1\n";
    fs::create_dir(folder.join(".cargo")).unwrap();
    fs::write(folder.join(".cargo/config.toml"), own).unwrap();
    let config = copy.join(".cargo/config.toml");
    let tracked = fs::read_to_string(&config).unwrap();
    fs::write(config, tracked + here).unwrap();
    copy
}

#[test]
#[ignore = "needs the Python reference"]
fn the_commands_of_the_documents_work_in_their_order_as_they_are_pasted() {
    // Both say how to get what is missing.
    let _ = (data_dir(), python("scripts/train.py"));
    let folder = tempdir().unwrap();
    let copy = fresh_checkout(folder.path());
    let libtorch = checkout().join(".libtorch/torch");
    let log = folder.path().join("log.txt");
    let mut bash = Command::new("bash");
    bash.current_dir(&copy).arg("-c").arg(script()).stdin(Stdio::null());
    bash.env_clear().envs(["PATH", "HOME"].map(|name| (name, std::env::var_os(name).unwrap())));
    // Other tests run at the same time, and a thread that spins while it waits would take a core from them.
    bash.env("OMP_WAIT_POLICY", "passive");
    // So that the project of one's own takes the same dependencies.
    bash.env("CARGO_TARGET_DIR", copy.join("target"));
    // The path that the dependencies were compiled with.
    bash.env("LIBTORCH", std::env::var_os("LIBTORCH").unwrap_or(libtorch.into()));
    let file = fs::File::create(&log).unwrap();
    let status = bash.stdout(file.try_clone().unwrap()).stderr(file).status().unwrap();
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    let lines: Vec<&str> = said.lines().collect();
    assert!(status.success(), "{}", lines[lines.len().saturating_sub(60)..].join("\n"));
}

#[test]
fn the_cells_of_the_notebook_in_rust_stand_in_the_example_which_is_compiled() {
    let read = |name: &str| fs::read_to_string(checkout().join(name)).unwrap();
    // rustfmt breaks lines elsewhere.
    let packed = |text: &str| text.split_whitespace().collect::<String>();
    let example = packed(&read("examples/notebook.rs"));
    let notebook: serde_json::Value = serde_json::from_str(&read("notebooks/mnist_rust.ipynb")).unwrap();
    let cells = notebook["cells"].as_array().unwrap().iter().filter(|cell| cell["cell_type"] == "code");
    let sources =
        cells.flat_map(|cell| cell["source"].as_array().unwrap()).map(|line| line.as_str().unwrap());
    // The example takes its two folders as arguments, and shows values and imports in its own way.
    let lines = sources.map(|line| line.trim().trim_end_matches(';').trim_start_matches("Page("));
    let lines: Vec<String> = lines
        .filter(|line| !line.starts_with(":dep") && !line.starts_with("use "))
        .map(|line| {
            line.replace("\"../data\"", "data").replace("data.as_ref()", "data").replace("\"logs\"", "logs")
        })
        .map(|line| if line.starts_with("report::page") { line.replace("))?)", "))?") } else { line })
        .collect();
    assert!(lines.len() > 40, "{lines:?}");
    for line in lines {
        assert!(
            example.contains(&packed(&line)),
            "examples/notebook.rs lacks this line of the notebook:\n{line}"
        );
    }
}
