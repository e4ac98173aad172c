//! A room imports only from the rooms below it; docs/design.md says why. The command line, above them all, belongs to the
//! program, and the compiler keeps the library apart from it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// From the top to the bottom. Rooms of one floor don't know each other.
const FLOORS: [&[&str]; 11] = [
    &["jupyter"],
    &["report"],
    &["study"],
    &["run"],
    &["notebook"],
    &["compare", "chart", "digit"],
    &["lightning"],
    &["islp"],
    &["torchvision", "torchinfo", "trace"],
    &["torch"],
    &["util"],
];

/// These import even less: to compare runs and to draw numbers takes no libtorch.
const ONLY: [(&str, &[&str]); 2] =
    [("compare", &["util", "torch::state_dict", "trace"]), ("chart", &["util"])];

/// The `use crate::` lines below a path, each with its file.
fn imports(path: &Path) -> Vec<(String, String)> {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().flat_map(|entry| imports(&entry.unwrap().path())).collect();
    }
    let name = path.display().to_string();
    let text = if name.ends_with(".rs") { fs::read_to_string(path).unwrap() } else { String::new() };
    let imported = text.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':')).unwrap_or(rest.len());
        rest[..end].trim_end_matches(':').to_string()
    });
    assert!(!text.contains("use crate::{"), "{name}: name each room on a line of its own");
    imported.map(|import| (name.clone(), import)).collect()
}

#[test]
fn a_room_imports_only_from_the_rooms_below_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let floor = |room: &str| FLOORS.iter().position(|rooms| rooms.contains(&room));
    let mut rooms = BTreeMap::new();
    for entry in fs::read_dir(&source).unwrap() {
        let path = entry.unwrap().path();
        let room = path.file_stem().unwrap().to_str().unwrap().to_string();
        if !["main", "cli", "lib", "fonts"].contains(&room.as_str()) {
            rooms.insert(room, imports(&path));
        }
    }
    let mut named: Vec<&str> = FLOORS.concat();
    named.sort_unstable();
    assert_eq!(rooms.keys().collect::<Vec<_>>(), named, "rooms under src/, and those of the floors");
    for (room, imports) in &rooms {
        for (file, import) in imports {
            let other = import.split("::").next().unwrap();
            let may = other == room || floor(other) > floor(room);
            assert!(may, "{file}: {room} imports crate::{import}, which is not below it");
            if let Some((_, only)) = ONLY.iter().find(|(name, _)| name == room) {
                let may = other == room || only.iter().any(|allowed| import.starts_with(allowed));
                assert!(may, "{file}: {room} imports crate::{import}, and may import {only:?} alone");
            }
        }
    }
}
