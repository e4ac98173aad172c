//! Finds and reads MNIST's four files, under their usual names or other common ones, compressed or not.

use std::env::temp_dir;
use std::fs::File;
use std::io::{self, Cursor, ErrorKind, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf, absolute};

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::{CHECKSUMS, Error, MAX_BYTES, invalid};
use crate::util::file;
use crate::util::text::hex;

/// The places of the files in a data folder; the first is torchvision's.
const FOLDERS: [&str; 3] = ["MNIST/raw", "raw", "."];
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The header's length in an IDX file with three dimensions.
const MAX_HEADER: u64 = 16;

/// The folder in which torchvision puts the four files.
pub fn raw_folder(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDERS[0])
}

/// The folder of the four files: the first of `MNIST/raw`, `raw` and `data_dir` itself that has all four under some name,
/// otherwise the first that has one of them, otherwise `MNIST/raw`.
pub fn folder(data_dir: &Path) -> PathBuf {
    let folders = folders(data_dir);
    let count =
        |folder: &PathBuf| CHECKSUMS.iter().filter(|(name, _)| find_in(folder, name).is_some()).count();
    let first = |min: usize| folders.iter().find(|folder| count(folder) >= min).cloned();
    first(CHECKSUMS.len()).or_else(|| first(1)).unwrap_or_else(|| raw_folder(data_dir))
}

fn folders(data_dir: &Path) -> [PathBuf; 3] {
    // Joined with ".", the path would show the dot in messages.
    FOLDERS.map(|folder| if folder == "." { data_dir.to_path_buf() } else { data_dir.join(folder) })
}

/// Finds one of the four files by its usual name, such as `train-images-idx3-ubyte`. The file has that name or
/// `train-images.idx3-ubyte`, either perhaps with `.gz`, or is in a folder with one of the names without `.gz`.
///
/// # Errors
/// Fails if there is no such file, or only a folder without it.
pub fn find(data_dir: &Path, name: &str) -> Result<PathBuf, Error> {
    let folder = folder(data_dir);
    find_in(&folder, name).ok_or_else(|| {
        let path = folder.join(name);
        if path.is_dir() {
            return file::Error::NotRegular { path }.into();
        }
        Error::Missing { path, other: dotted(name), folders: folders(data_dir) }
    })
}

fn find_in(folder: &Path, name: &str) -> Option<PathBuf> {
    let plain = [name.to_string(), dotted(name)];
    let names = plain.iter().cloned().chain(plain.iter().map(|name| format!("{name}.gz")));
    let within = |folder: PathBuf| names.clone().map(move |name| folder.join(name));
    let mut paths =
        within(folder.to_path_buf()).chain(plain.iter().flat_map(|name| within(folder.join(name))));
    paths.find(|path| match path.metadata() {
        Ok(metadata) => !metadata.is_dir(),
        // Other errors are reported when the file is opened.
        Err(error) => !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory),
    })
}

/// The file's name in some archives, such as `train-images.idx3-ubyte`.
fn dotted(name: &str) -> String {
    name.replace("-idx", ".idx")
}

/// Computes the SHA-256, in hexadecimal, of a file's content, decompressed if it is compressed.
///
/// # Errors
/// Fails if the file can't be read.
pub fn checksum(path: &Path) -> Result<String, Error> {
    let mut sha256 = Sha256::new();
    open(path)?.read(path, |block| {
        sha256.update(block);
        Ok(())
    })?;
    Ok(hex(&sha256.finalize()))
}

/// An open file.
struct Opened {
    content: Box<dyn Read>,
    /// The content's length according to its header, if the file is compressed.
    announced: Option<u64>,
}

impl Opened {
    /// Reads the whole content, block by block.
    fn read(mut self, path: &Path, mut take: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let (mut buffer, mut length) = (vec![0; 1 << 16], 0);
        loop {
            match self.content.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    take(&buffer[..read])?;
                    length += read as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(unreadable(path)(error)),
            }
        }
        match self.announced {
            Some(announced) if length > announced => Err(invalid(
                path,
                format!("contains more than the {announced} bytes that its header announces"),
            )),
            None if length > MAX_BYTES => {
                Err(file::Error::TooLarge { path: path.to_path_buf(), limit: MAX_BYTES }.into())
            }
            _ => Ok(()),
        }
    }
}

/// Opens a file, and decompresses its content if it is compressed. Decompression ends at most one byte after the length
/// that the header announces, because a small file can decompress to more than any disk.
fn open(path: &Path) -> Result<Opened, Error> {
    let (mut file, mut start) = (file::open(path)?, vec![]);
    Read::by_ref(&mut file).take(GZIP.len() as u64).read_to_end(&mut start).map_err(unreadable(path))?;
    let is_compressed = start == GZIP;
    let whole = Cursor::new(start).chain(file);
    if !is_compressed {
        return Ok(Opened { content: Box::new(whole.take(MAX_BYTES + 1)), announced: None });
    }
    let (mut decoder, mut start) = (MultiGzDecoder::new(whole), vec![]);
    decoder.by_ref().take(MAX_HEADER).read_to_end(&mut start).map_err(unreadable(path))?;
    let announced = announced(&start).map_err(|reason| invalid(path, reason))?;
    let rest = decoder.take((announced + 1).saturating_sub(start.len() as u64));
    Ok(Opened { content: Box::new(Cursor::new(start).chain(rest)), announced: Some(announced) })
}

/// The length of an IDX file according to its header.
fn announced(start: &[u8]) -> Result<u64, String> {
    let (words, _) = start.as_chunks();
    let words: Vec<u32> = words.iter().map(|&word| u32::from_be_bytes(word)).collect();
    let dimensions = match words[..] {
        [0x801, ..] => words.get(1..2),
        [0x803, ..] => words.get(1..4),
        _ => None,
    };
    let dimensions = dimensions.ok_or("what is compressed in it is no IDX file of images or labels")?;
    let values = dimensions.iter().try_fold(1u64, |product, &d| product.checked_mul(u64::from(d)));
    let length = values.and_then(|values| values.checked_add(4 * (1 + dimensions.len() as u64)));
    let length = length.filter(|&length| length <= MAX_BYTES);
    length.ok_or_else(|| format!("{dimensions:?} values, more than {}", u32::MAX))
}

/// Turns a read error into one that names the file: the system's, or the decoder's if the compressed data are damaged.
fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> Error {
    |error| {
        if error.raw_os_error().is_some() {
            return file::Error::io("read", path)(error).into();
        }
        invalid(path, format!("cannot be decompressed: {error}"))
    }
}

/// A folder with the four files, uncompressed and under their usual names, as tch's reader needs them.
pub(super) struct PlainFiles {
    pub folder: PathBuf,
    _temporary: Option<TempDir>,
}

/// Puts the files, in the order of [`CHECKSUMS`], into a temporary folder, unless they are plain files in one folder already.
///
/// # Errors
/// Fails if a file can't be read, or a temporary one can't be written.
pub(super) fn plain(paths: &[PathBuf; 4]) -> Result<PlainFiles, Error> {
    let files = CHECKSUMS.iter().zip(paths).map(|((name, _), path)| Ok((*name, path, open(path)?)));
    let files = files.collect::<Result<Vec<_>, Error>>()?;
    let folder = paths[0].parent().unwrap_or(Path::new(""));
    if files.iter().all(|(name, path, file)| **path == folder.join(name) && file.announced.is_none()) {
        return Ok(PlainFiles { folder: folder.to_path_buf(), _temporary: None });
    }
    let temporary = tempfile::Builder::new().prefix("islp-mnist-").tempdir();
    let temporary = temporary.map_err(|error| file::Error::io("make a folder in", &temp_dir())(error))?;
    for (name, path, file) in files {
        let place = temporary.path().join(name);
        let link = || symlink(absolute(path)?, &place);
        if file.announced.is_some() || link().is_err() {
            let mut copy = File::create_new(&place).map_err(file::Error::io("write", &place))?;
            file.read(path, |block| Ok(copy.write_all(block).map_err(file::Error::io("write", &place))?))?;
        }
    }
    Ok(PlainFiles { folder: temporary.path().to_path_buf(), _temporary: Some(temporary) })
}

#[cfg(test)]
mod tests {
    use super::announced;

    #[test]
    fn a_header_announces_at_most_what_can_be_read() {
        let header = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<_>>();
        assert_eq!(announced(&header(&[0x803, 60_000, 28, 28])), Ok(16 + 60_000 * 784));
        assert_eq!(announced(&header(&[0x801, 60_000, u32::MAX, u32::MAX])), Ok(8 + 60_000));
        for words in [&[0x801][..], &[0x803, 1, 1], &[0x802, 1, 1, 1], &[0x803, 1 << 31, 1 << 31, 4], &[]] {
            assert!(announced(&header(words)).is_err(), "{words:x?}");
        }
        assert!(
            announced(&header(&[0x803, u32::MAX, 28, 28])).unwrap_err().ends_with("more than 4294967295")
        );
    }
}
