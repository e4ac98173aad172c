//! Loads two IDX files, images and labels, whose headers are checked before tch reads them.
#![no_main]

use std::fs;

use islp_mnist::{internals, torchvision};
use libfuzzer_sys::fuzz_target;
use tch::Device;

// The first byte is the length of the labels, which are the last bytes.
fuzz_target!(|bytes: &[u8]| {
    let Some((&length, rest)) = bytes.split_first() else { return };
    let Some((images, labels)) = rest.split_at_checked(rest.len().saturating_sub(length.into())) else {
        return;
    };
    let image_dimensions = internals::dimensions::<3>(images, images.len() as u64);
    let label_dimensions = internals::dimensions::<1>(labels, labels.len() as u64);
    let product = |header: &[u8]| {
        let words =
            header.chunks_exact(4).map(|word| u128::from(u32::from_be_bytes(word.try_into().unwrap())));
        words.product::<u128>()
    };
    assert_eq!(
        image_dimensions.is_ok(),
        is_whole(images, 16) && product(&images[4..16]) == images.len() as u128 - 16
    );
    assert_eq!(
        label_dimensions.is_ok(),
        is_whole(labels, 8) && product(&labels[4..8]) == labels.len() as u128 - 8
    );
    // Most inputs touch no file.
    if image_dimensions.is_err() && label_dimensions.is_err() {
        return;
    }
    let folder = tempfile::tempdir_in("/dev/shm").expect("/dev/shm can be written to");
    let raw = torchvision::raw_folder(folder.path());
    fs::create_dir_all(&raw).expect("/dev/shm has room");
    for ((name, _), content) in torchvision::CHECKSUMS.into_iter().zip([images, labels, images, labels]) {
        fs::write(raw.join(name), content).expect("/dev/shm has room");
    }
    let loaded = torchvision::load(folder.path(), Device::Cpu);
    let count = labels.len() as i64 - 8;
    let is_valid = image_dimensions.is_ok_and(|dimensions| dimensions == [count as u32, 28, 28])
        && label_dimensions.is_ok()
        && count > 0
        && labels[8..].iter().all(|&label| label < 10);
    assert_eq!(loaded.is_ok(), is_valid, "{loaded:?}");
    if let Ok(loaded) = loaded {
        assert_eq!(loaded.train_images.size(), [count, 1, 28, 28]);
        let digits: Vec<i64> = loaded.test_labels.try_into().unwrap();
        assert!(digits.iter().zip(&labels[8..]).all(|(&digit, &byte)| digit == i64::from(byte)));
    }
});

fn is_whole(bytes: &[u8], header: usize) -> bool {
    bytes.len() >= header && bytes[..4] == (0x800 + header as u32 / 4 - 1).to_be_bytes()
}
