//! The four IDX files, in which tch's reader trusts everything but the magic number.

use std::fs::{self, File};
use std::path::PathBuf;

use islp_mnist::torchvision;
use tch::vision::dataset::Dataset;
use tch::{Device, Tensor};
use tempfile::{TempDir, tempdir};

use super::{NO_FILES, Random, Tries, Verdict, all, gzipped, limited, put_no_file, refused, replace, sample};
use crate::common::{assert_refused, data_dir, fashion_mnist, idx};

const TRAIN: usize = 30;
const TEST: usize = 20;
/// The places of the files in [`Set`].
const TRAIN_IMAGES: usize = 0;
const TRAIN_LABELS: usize = 1;
const TEST_IMAGES: usize = 2;
const TEST_LABELS: usize = 3;

/// The first images of MNIST, in their own folder.
struct Set {
    folder: TempDir,
    files: [(PathBuf, Vec<u8>); 4],
}

impl Set {
    fn new() -> Self {
        let folder = tempdir().unwrap();
        let raw = torchvision::raw_folder(folder.path());
        fs::create_dir_all(&raw).unwrap();
        let counts = [TRAIN, TRAIN, TEST, TEST];
        let mut places = torchvision::CHECKSUMS.into_iter().zip(counts);
        let files = std::array::from_fn(|_| {
            let ((name, _), count) = places.next().unwrap();
            let bytes = fs::read(torchvision::raw_folder(&data_dir()).join(name)).unwrap();
            let excerpt = if name.contains("images") {
                idx(&[count as u32, 28, 28], &bytes[16..16 + count * 28 * 28])
            } else {
                idx(&[count as u32], &bytes[8..8 + count])
            };
            fs::write(raw.join(name), &excerpt).unwrap();
            (raw.join(name), excerpt)
        });
        Self { folder, files }
    }

    fn bytes(&self, file: usize) -> &[u8] {
        &self.files[file].1
    }

    fn name(&self, file: usize) -> String {
        self.files[file].0.file_name().unwrap().to_string_lossy().into_owned()
    }

    fn load(&self) -> Result<Dataset, torchvision::Error> {
        torchvision::load(self.folder.path(), Device::Cpu)
    }

    fn put(&self, changes: &[(usize, &[u8])]) {
        changes.iter().for_each(|&(file, bytes)| replace(&self.files[file].0, bytes));
    }

    fn restore(&self) {
        self.files.iter().for_each(|(path, bytes)| replace(path, bytes));
    }

    /// Right if the set with these files changed is refused, with the name of the file `blamed`.
    fn refuses(&self, blamed: usize, changes: &[(usize, &[u8])]) -> Verdict {
        self.put(changes);
        let verdict = refused(self.load(), &[&format!("{}: ", self.files[blamed].0.display())]);
        changes.iter().for_each(|&(file, _)| replace(&self.files[file].0, self.bytes(file)));
        verdict
    }

    /// Right if just the values of the files are loaded.
    fn accepts(&self, changes: &[(usize, &[u8])]) -> Verdict {
        self.put(changes);
        let loaded = self.load();
        let files: Vec<_> = self.files.iter().map(|(path, _)| fs::read(path).unwrap()).collect();
        self.restore();
        same(&loaded.map_err(|error| format!("refused: {error}"))?, &files)
    }
}

fn same(loaded: &Dataset, files: &[Vec<u8>]) -> Verdict {
    let images = |tensor: &Tensor| Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap();
    let labels = |tensor: &Tensor| Vec::<i64>::try_from(tensor).unwrap();
    let pixels =
        |file: usize| files[file][16..].iter().map(|&byte| f32::from(byte) / 255.0).collect::<Vec<_>>();
    let digits = |file: usize| files[file][8..].iter().map(|&byte| i64::from(byte)).collect::<Vec<_>>();
    let is_same = images(&loaded.train_images) == pixels(TRAIN_IMAGES)
        && labels(&loaded.train_labels) == digits(TRAIN_LABELS)
        && images(&loaded.test_images) == pixels(TEST_IMAGES)
        && labels(&loaded.test_labels) == digits(TEST_LABELS);
    if is_same { Ok(()) } else { Err("other values than in the files".into()) }
}

fn header_length(file: usize) -> usize {
    if matches!(file, TRAIN_IMAGES | TEST_IMAGES) { 16 } else { 8 }
}

fn load_as_they_are_or_refuse_by_name(tries: &mut Tries) {
    let set = Set::new();
    damaged_anywhere(tries, &set);
    lying_headers(tries, &set);
    not_what_the_name_says(tries, &set);
    valid(tries, &set);
}

#[test]
fn idx_files_are_loaded_as_they_are_or_refused_by_name() {
    sample(101, load_as_they_are_or_refuse_by_name);
}

#[test]
#[ignore = "slow"]
fn all_idx_files_are_loaded_as_they_are_or_refused_by_name() {
    all("IDX files", load_as_they_are_or_refuse_by_name);
}

fn damaged_anywhere(tries: &mut Tries, set: &Set) {
    let random = Random::new(1);
    for file in 0..4 {
        let (bytes, name) = (set.bytes(file), set.name(file));
        let anywhere = (0..25).map(|_| random.below(bytes.len()));
        for length in (0..=header_length(file)).chain(anywhere).chain([bytes.len() - 1]) {
            tries.check(format!("{name} cut to {length} bytes"), || {
                set.refuses(file, &[(file, &bytes[..length])])
            });
        }
        for surplus in [1, 4, 784, bytes.len()] {
            let longer = [bytes, &bytes[..surplus.min(bytes.len())]].concat();
            tries
                .check(format!("{name} with {surplus} bytes more"), || set.refuses(file, &[(file, &longer)]));
        }
        for place in 0..header_length(file) {
            for change in 1..=255 {
                let mut changed = bytes.to_vec();
                changed[place] ^= change;
                tries.check(format!("{name}, byte {place} xor {change}"), || {
                    set.refuses(file, &[(file, &changed)])
                });
            }
        }
    }
}

fn lying_headers(tries: &mut Tries, set: &Set) {
    let most = u32::MAX;
    for (images, labels, count) in [(TRAIN_IMAGES, TRAIN_LABELS, TRAIN), (TEST_IMAGES, TEST_LABELS, TEST)] {
        let (pixels, count) = (&set.bytes(images)[16..], count as u32);
        let mut announced =
            vec![[most, most, most], [1 << 31, 1 << 31, 4], [1 << 30, 28, 28], [1 << 22, 1 << 20, 1 << 20]];
        // 2^28 · 28 · 28 is 0 modulo 2^32, as tch's reader multiplies, and 2^62 · 4 is 0 modulo 2^64.
        announced.extend([[count + (1 << 28), 28, 28], [1 << 31, 1 << 31, 8], [0, 28, 28], [0, 0, 0]]);
        announced.extend([
            [count - 1, 28, 28],
            [count + 1, 28, 28],
            [count, 28, most],
            [28, count, 28 << 16],
        ]);
        for dimensions in announced {
            let lying = idx(&dimensions, pixels);
            tries.check(format!("{dimensions:?} images announced"), || {
                set.refuses(images, &[(images, &lying)])
            });
            let lying = idx(&dimensions[..1], &set.bytes(labels)[8..]);
            if dimensions[0] != count {
                tries.check(format!("{} labels announced", dimensions[0]), || {
                    set.refuses(labels, &[(labels, &lying)])
                });
            }
        }
        // Only the size is wrong here.
        let sizes = [
            [27, 28],
            [28, 27],
            [1, 784],
            [784, 1],
            [14, 56],
            [56, 14],
            [32, 32],
            [0, 28],
            [28, 0],
            [0, 0],
            [1, 1],
        ];
        for [height, width] in sizes {
            let other = idx(&[count, height, width], &vec![7; (count * height * width) as usize]);
            tries.check(format!("images of {height}x{width}"), || set.refuses(images, &[(images, &other)]));
        }
        for other in [1, count - 1, count + 1, 2 * count] {
            let more = idx(&[other, 28, 28], &vec![7; other as usize * 784]);
            tries.check(format!("{other} images for {count} labels"), || {
                set.refuses(labels, &[(images, &more)])
            });
            let more = idx(&[other], &vec![7; other as usize]);
            tries.check(format!("{other} labels for {count} images"), || {
                set.refuses(labels, &[(labels, &more)])
            });
        }
        let none = [(images, &idx(&[0, 28, 28], &[])[..]), (labels, &idx(&[0], &[])[..])];
        tries.check("no image at all", || set.refuses(images, &none));
    }
    // A file of holes that is as long as its header says: more values than tch's reader can count.
    let path = &set.files[TRAIN_IMAGES].0;
    let count = u32::MAX / 784 + 1;
    replace(path, &idx(&[count, 28, 28], &[]));
    File::options().write(true).open(path).unwrap().set_len(16 + u64::from(count) * 784).unwrap();
    tries.check("4 GiB of images", || {
        refused(set.load(), &[&format!("{}: ", path.display()), "more than 4294967295"])
    });
    set.restore();
}

fn not_what_the_name_says(tries: &mut Tries, set: &Set) {
    for (images, labels, count) in [(TRAIN_IMAGES, TRAIN_LABELS, TRAIN), (TEST_IMAGES, TEST_LABELS, TEST)] {
        let swapped = [(images, set.bytes(labels)), (labels, set.bytes(images))];
        tries.check("images and labels swapped", || set.refuses(images, &swapped));
        for place in 0..count {
            for label in [10, 255] {
                let mut bytes = set.bytes(labels).to_vec();
                bytes[8 + place] = label;
                tries.check(format!("label {label} at {place}"), || set.refuses(labels, &[(labels, &bytes)]));
            }
        }
    }
    let swapped = [(TRAIN_IMAGES, set.bytes(TEST_IMAGES)), (TEST_IMAGES, set.bytes(TRAIN_IMAGES))];
    tries.check("training and test images swapped", || set.refuses(TRAIN_LABELS, &swapped));
    for file in 0..4 {
        let path = &set.files[file].0;
        compressed(tries, set, file, &gzipped(path));
        for what in NO_FILES {
            put_no_file(path, what);
            let named = format!("{}: ", path.display());
            tries.check(what, || refused(set.load(), &[named.trim_end_matches(": ")]));
            set.restore();
        }
    }
}

/// A compressed file is loaded as its content, or refused.
fn compressed(tries: &mut Tries, set: &Set, file: usize, bytes: &[u8]) {
    tries.check("a gz file", || {
        replace(&set.files[file].0, bytes);
        let loaded = set.load();
        set.restore();
        same(
            &loaded.map_err(|error| error.to_string())?,
            &set.files.each_ref().map(|(_, bytes)| bytes.clone()),
        )
    });
    let random = Random::new(3);
    for length in (2..20).chain((0..25).map(|_| 2 + random.below(bytes.len() - 2))).chain([bytes.len() - 1]) {
        let cut = &bytes[..length];
        tries.check(format!("a gz file cut to {length} bytes"), || set.refuses(file, &[(file, cut)]));
    }
    for _ in 0..25 {
        // gzip's header, with the file's name in it, is followed by the content and its checksum.
        let (flipped, place) = random.flip(bytes, 60..bytes.len());
        tries.check(format!("a gz file, byte {place} changed"), || set.refuses(file, &[(file, &flipped)]));
    }
    let twice = bytes.repeat(2);
    tries.check("a gz file of two", || set.refuses(file, &[(file, &twice)]));
}

fn valid(tries: &mut Tries, set: &Set) {
    let random = Random::new(2);
    tries.check("MNIST", || set.accepts(&[]));
    for file in 0..4 {
        for _ in 0..25 {
            // Any pixel is a pixel, and any digit a label.
            let (mut bytes, place) = random.flip(set.bytes(file), header_length(file)..set.bytes(file).len());
            if header_length(file) == 8 {
                bytes[place] %= 10;
            }
            tries.check("another value", || set.accepts(&[(file, &bytes)]));
        }
    }
    let fashion = torchvision::raw_folder(&fashion_mnist());
    let files = torchvision::CHECKSUMS.map(|(name, _)| fs::read(fashion.join(name)).unwrap());
    tries.check("Fashion-MNIST", || {
        same(&torchvision::load(fashion_mnist(), Device::Cpu).map_err(|error| error.to_string())?, &files)
    });
}

#[test]
fn the_program_names_a_bad_idx_file_in_one_line_and_allocates_nothing_that_it_claims() {
    let set = Set::new();
    let blames = |file: usize, changes: &[(usize, &[u8])]| {
        set.put(changes);
        let mut train = limited(set.folder.path(), "train --epochs 1 --data-dir .");
        assert_refused(&mut train, 1, &[&format!("error: ./MNIST/raw/{}: ", set.name(file))]);
        assert!(!set.folder.path().join("output").exists());
        set.restore();
    };
    blames(TRAIN_IMAGES, &[(TRAIN_IMAGES, b"")]);
    // 3 GiB, as both files claim.
    let (images, labels) = (idx(&[1 << 22, 28, 28], &[0; 784]), idx(&[1 << 22], &[0]));
    blames(TRAIN_IMAGES, &[(TRAIN_IMAGES, &images), (TRAIN_LABELS, &labels)]);
}
