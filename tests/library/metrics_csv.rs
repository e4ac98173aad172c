//! The folder of metrics.csv, as Lightning's CSVLogger numbers it. Its bytes are in tests/library/fixtures/.

use std::fs;
use std::path::Path;

use islp_mnist::lightning::CsvLogger;

fn version_of(logger: &CsvLogger) -> String {
    logger.log_dir().file_name().unwrap().to_str().unwrap().to_string()
}

#[test]
fn versions_count_up_from_the_highest_folder_as_lightnings() {
    let folder = tempfile::tempdir().unwrap();
    let next = || version_of(&CsvLogger::new(folder.path(), "MNIST").unwrap());
    assert_eq!(next(), "version_0");
    assert_eq!(next(), "version_1");
    let make = |name: &str| fs::create_dir(folder.path().join("MNIST").join(name)).unwrap();
    make("version_7");
    make("version_x");
    make("another_99");
    fs::write(folder.path().join("MNIST/version_50"), "a file").unwrap();
    assert_eq!(next(), "version_8");
    // Lightning splits at the underscores.
    make("version_20_old");
    assert_eq!(next(), "version_21");
}

#[test]
fn loggers_made_at_the_same_moment_get_a_version_each() {
    let folder = tempfile::tempdir().unwrap();
    let new = |path: &Path| version_of(&CsvLogger::new(path, "MNIST").unwrap());
    let mut versions: Vec<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..16).map(|_| scope.spawn(|| new(folder.path()))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    versions.sort();
    versions.dedup();
    assert_eq!(versions.len(), 16);
}
