//! metrics.csv and its folder, as Lightning's CSVLogger makes them.

use std::fs;
use std::path::Path;

use islp_mnist::lightning::CsvLogger;

fn version_of(logger: &CsvLogger) -> String {
    logger.log_dir().file_name().unwrap().to_str().unwrap().to_string()
}

#[test]
fn the_bytes_are_those_of_lightnings_csv_logger() {
    let folder = tempfile::tempdir().unwrap();
    let mut logger = CsvLogger::new(folder.path(), "MNIST").unwrap();
    logger.log_metrics(&[("train_accuracy_step", 0.746_093_75)], 0, 49);
    logger.save().unwrap();
    assert_eq!(
        fs::read(logger.metrics_file_path()).unwrap(),
        b"epoch,step,train_accuracy_step\r\n0,49,0.74609375\r\n"
    );
    logger.log_metrics(&[("valid_loss", 0.261_149_23), ("valid_accuracy", 0.925)], 0, 187);
    logger.log_metrics(&[("train_loss", 1.487_597), ("train_accuracy_epoch", f32::NAN)], 0, 187);
    logger.log_metrics(&[("test_loss", 2e-5), ("test_accuracy", 1.0)], 1, 188);
    logger.save().unwrap();
    assert_eq!(
        String::from_utf8(fs::read(logger.metrics_file_path()).unwrap()).unwrap(),
        "epoch,step,test_accuracy,test_loss,train_accuracy_epoch,train_accuracy_step,train_loss,valid_accuracy,\
         valid_loss\r\n\
         0,49,,,,0.74609375,,,\r\n\
         0,187,,,,,,0.925000011920929,0.26114922761917114\r\n\
         0,187,,,nan,,1.4875969886779785,,\r\n\
         1,188,1.0,1.9999999494757503e-05,,,,,\r\n"
    );
}

#[test]
fn versions_count_up_from_the_highest_folder_as_lightning_counts() {
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

#[test]
fn nothing_but_the_metrics_is_left_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let mut logger = CsvLogger::new(folder.path(), "MNIST").unwrap();
    logger.log_metrics(&[("test_loss", 1.0)], 0, 0);
    logger.save().unwrap();
    logger.save().unwrap();
    let names: Vec<_> =
        fs::read_dir(logger.log_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["metrics.csv"]);
}
