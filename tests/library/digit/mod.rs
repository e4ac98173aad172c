//! Makes MNIST's test images into pictures of many kinds and reads them: each must give the image that it was made from,
//! or one that is near enough for the model. Anything else must be refused.

mod pictures;

use std::fs::{self, File};
use std::sync::LazyLock;

use image::codecs::gif::GifEncoder;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{rotate90, rotate180, rotate270};
use image::{DynamicImage, Frame, GrayImage, ImageEncoder, ImageFormat, Luma, Rgba, RgbaImage};
use islp_mnist::FileError;
use islp_mnist::digit::{self, Digit, Error, PictureError};
use islp_mnist::notebook::weights;
use islp_mnist::torch::Generator;
use islp_mnist::torchvision;
use tch::{Device, Kind, Tensor};

use pictures::*;

/// MNIST's 10,000 test images and their labels.
static TEST_SET: LazyLock<(Vec<Digit>, Vec<i64>)> = LazyLock::new(|| {
    tch::set_num_threads(1);
    let mnist = torchvision::load(crate::common::data_dir(), Device::Cpu).unwrap();
    let values = Vec::<u8>::try_from((mnist.test_images * 255).round().to_kind(Kind::Uint8).flatten(0, -1));
    let images = values.unwrap().chunks(28 * 28).map(|image| image.try_into().unwrap()).collect();
    (images, mnist.test_labels.try_into().unwrap())
});

/// The formats besides PNG and JPEG.
const NEW_FORMATS: [ImageFormat; 4] =
    [ImageFormat::WebP, ImageFormat::Gif, ImageFormat::Bmp, ImageFormat::Tiff];

/// Reads the largest digit in a picture.
fn from_bytes(bytes: &[u8]) -> Result<Digit, PictureError> {
    digit::from_bytes(bytes).map(|figures| digit::largest(&figures).unwrap().digit)
}

fn check(what: &str, bytes: &[u8], error: PictureError) {
    assert_eq!(from_bytes(bytes).err(), Some(error), "{what}");
}

/// The first test image, a seven.
fn seven() -> &'static Digit {
    &TEST_SET.0[0]
}

/// The mean absolute difference between images and their originals, in grey values.
fn difference(digits: &[Digit], originals: &[Digit]) -> f64 {
    let pairs = digits.iter().flatten().zip(originals.iter().flatten());
    pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / (digits.len() * 28 * 28) as f64
}

/// The accuracy of the tracked reference run's model on images of the first test digits.
fn accuracy(digits: &[Digit]) -> f64 {
    let model =
        weights::load(&crate::common::checkout().join("output/MNIST/version_0"), Device::Cpu).unwrap();
    let images = Tensor::from_slice(digits.as_flattened()).view([-1, 1, 28, 28]).to_kind(Kind::Float) / 255;
    let labels = Tensor::from_slice(&TEST_SET.1[..digits.len()]);
    tch::no_grad(|| {
        let logits = model.forward(&images, false).unwrap();
        model.accuracy(&logits, &labels).unwrap().double_value(&[])
    })
}

#[test]
fn an_image_of_mnist_is_read_unchanged() {
    for digit in &TEST_SET.0 {
        assert!(from_bytes(&png(grey(digit))).unwrap() == *digit);
    }
}

#[test]
fn the_digit_does_not_depend_on_the_colour_type() {
    for digit in &TEST_SET.0[..100] {
        let dark = DynamicImage::from(inverted(grey(digit)));
        let on_nothing =
            |ink| RgbaImage::from_fn(28, 28, |x, y| Rgba([ink, ink, ink, digit[(y * 28 + x) as usize]]));
        for (kind, bytes) in [
            ("grey", png(dark.clone())),
            ("grey with alpha", png(dark.to_luma_alpha8())),
            ("RGB", png(dark.to_rgb8())),
            ("16-bit grey", png(dark.to_luma16())),
            ("16-bit RGB", png(dark.to_rgb16())),
            ("16-bit RGBA", png(dark.to_rgba16())),
            ("black on nothing", png(on_nothing(0))),
            ("white on nothing", png(on_nothing(255))),
            ("palette", palette(&dark.to_luma8())),
        ] {
            assert!(from_bytes(&bytes).unwrap() == *digit, "{kind}");
        }
    }
}

#[test]
fn the_digit_does_not_depend_on_the_format() {
    for digit in &TEST_SET.0[..20] {
        let picture = black_and_white(enlarged(digit, 5));
        let expected = from_bytes(&png(picture.clone())).unwrap();
        for format in NEW_FORMATS {
            assert!(from_bytes(&encoded(&picture, format)).unwrap() == expected, "{format:?}");
        }
    }
    // Lossy WebP, the usual kind.
    let lossy = fs::read(crate::common::checkout().join("tests/data/four.webp")).unwrap();
    let original = fs::read(crate::common::checkout().join("docs/four.png")).unwrap();
    let [lossy, original] = [lossy, original].map(|bytes| from_bytes(&bytes).unwrap());
    let difference = difference(&[lossy], &[original]);
    assert!(difference < 5.0, "{difference}");
}

#[test]
fn the_first_frame_of_a_gif_is_read() {
    let [first, second] = [enlarged(seven(), 4), inverted(enlarged(&TEST_SET.0[1], 4))];
    let mut bytes = vec![];
    let mut encoder = GifEncoder::new(&mut bytes);
    for picture in [&first, &second] {
        encoder.encode_frame(Frame::new(DynamicImage::from(picture.clone()).into_rgba8())).unwrap();
    }
    drop(encoder);
    assert!(from_bytes(&bytes).unwrap() == from_bytes(&encoded(&first, ImageFormat::Gif)).unwrap());
}

#[test]
fn a_webp_whose_chunks_claim_more_bytes_than_it_has_is_refused() {
    let chunk = |name: &[u8], claimed: u32, bytes: &[u8]| [name, &claimed.to_le_bytes(), bytes].concat();
    // A canvas of 28x28 pixels, with EXIF data.
    let canvas = chunk(b"VP8X", 10, &[8, 0, 0, 0, 27, 0, 0, 27, 0, 0]);
    for claimed in [9, 4_000_000_000] {
        let body = [&b"WEBP"[..], &canvas, &chunk(b"EXIF", claimed, &[0; 8])].concat();
        let webp = chunk(b"RIFF", body.len() as u32, &body);
        assert_eq!(from_bytes(&webp).err(), Some(PictureError::Unreadable { format: "WebP" }));
    }
    let whole = encoded(&enlarged(seven(), 4), ImageFormat::WebP);
    let digit = from_bytes(&whole).unwrap();
    assert!(
        from_bytes(&[&whole[..], b"EXIF\xff\xff\xff\xff"].concat()).unwrap() == digit,
        "bytes after the end are ignored"
    );
}

#[test]
fn a_picture_is_rotated_by_its_exif_data() {
    let upright = enlarged(seven(), 4);
    // The four ways to hold a camera.
    for (value, stored) in
        [(1, upright.clone()), (3, rotate180(&upright)), (6, rotate270(&upright)), (8, rotate90(&upright))]
    {
        // A TIFF header and one entry, tag 0x112.
        let header = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0";
        let mut bytes = vec![];
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.set_exif_metadata([&header[..], &[value, 0, 0, 0, 0, 0, 0, 0]].concat()).unwrap();
        encoder.encode_image(&stored).unwrap();
        let difference = difference(&[from_bytes(&bytes).unwrap()], &[*seven()]);
        assert!(difference < 10.0, "orientation {value}: {difference}");
    }
}

#[test]
fn the_model_recognizes_pictures_of_all_kinds() {
    assert_recognized(40);
}

#[test]
#[ignore = "slow: 10 kinds of pictures of 500 images"]
fn the_model_recognizes_pictures_of_all_kinds_as_well_as_the_images() {
    assert_recognized(500);
}

/// Asserts that the model recognizes pictures of the first `count` test images as well as the images, and that a picture of
/// the digit that was read is read unchanged.
fn assert_recognized(count: usize) {
    type Picture = fn(&Digit, u32) -> Vec<u8>;
    // Each with the largest mean difference from the images.
    let kinds: [(&str, f64, Picture); 10] = [
        ("ten times as large", 7.0, |digit, _| png(enlarged(digit, 10))),
        ("black on white", 7.0, |digit, _| png(black_and_white(enlarged(digit, 5)))),
        ("small, anywhere", 3.0, |digit, number| png(on_canvas(&grey(digit), 100, 60, number))),
        ("large, anywhere", 7.5, |digit, number| {
            png(inverted(on_canvas(&enlarged(digit, 4), 300, 200, number)))
        }),
        ("cropped to its ink, large", 7.0, |digit, _| png(inverted(cropped(&enlarged(digit, 5))))),
        ("cropped to its ink", 3.5, |digit, _| png(cropped(&grey(digit)))),
        ("photographed", 8.0, |digit, number| jpeg(on_paper(&enlarged(digit, 5), number), 80)),
        ("blue on yellow", 7.5, |digit, _| jpeg(in_colours(&enlarged(digit, 5)), 90)),
        ("JPEG", 3.5, |digit, _| jpeg(grey(digit), 80)),
        ("JPEG, large", 7.5, |digit, _| jpeg(inverted(enlarged(digit, 5)), 80)),
    ];
    let originals = &TEST_SET.0[..count];
    let expected = accuracy(originals);
    for (kind, max_difference, picture) in kinds {
        let read = |(digit, number)| from_bytes(&picture(digit, number)).unwrap();
        let digits: Vec<Digit> = originals.iter().zip(0..).map(read).collect();
        let (difference, accuracy) = (difference(&digits, originals), accuracy(&digits));
        println!("{kind}: accuracy {accuracy:.3} instead of {expected:.3}, difference {difference:.2}");
        assert!(difference < max_difference, "{kind}: the difference is {difference}");
        // One image or 1 %.
        assert!(
            (accuracy - expected).abs() <= 0.01f64.max(1.01 / count as f64),
            "{kind}: accuracy {accuracy} instead of {expected}"
        );
        for digit in &digits {
            assert!(from_bytes(&png(grey(digit))).unwrap() == *digit, "{kind}: read again, it changes");
        }
    }
}

#[test]
fn a_speck_of_dust_is_not_ink() {
    let mut picture = inverted(enlarged(seven(), 10));
    let clean = from_bytes(&png(picture.clone())).unwrap();
    for (x, y) in [(3, 3), (4, 3), (3, 4), (270, 100), (20, 275)] {
        picture.put_pixel(x, y, Luma([0]));
    }
    assert!(from_bytes(&png(picture)).unwrap() == clean);
}

#[test]
fn an_image_is_shown_in_ten_shades() {
    let mut shades = [0; 28 * 28];
    shades[..11].copy_from_slice(&[0, 25, 26, 52, 77, 103, 128, 154, 180, 205, 255]);
    assert_eq!(digit::show(&shades), format!("    ..::--==++**##%%@@\n{}", "\n".repeat(26)));
}

#[test]
fn bytes_that_are_not_a_picture_of_a_digit_are_refused() {
    use PictureError::{NoDigit, TooLarge, TooSmall, UnknownFormat, Unreadable};
    let mut faint = grey(seven());
    faint.iter_mut().for_each(|value| *value = 240 - *value / 32);
    let huge = jpeg_with(&enlarged(seven(), 4), |frame| frame[5..9].copy_from_slice(&[0x20, 0x01, 0, 0x1c]));

    check("empty", &[], UnknownFormat);
    check("text", b"a seven\n", UnknownFormat);
    check("a picture of another format", b"P2\n28 28\n255\n", UnknownFormat);
    check("an iPhone's HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", UnknownFormat);
    check("a GIF without a frame", b"GIF89a\x1c\0\x1c\0\0\0\0;", Unreadable { format: "GIF" });
    for (bytes, format) in [
        (&b"GIF89a"[..], "GIF"),
        (b"BM", "BMP"),
        (b"BMW\n", "BMP"),
        (b"II*\0", "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (b"RIFF\0\0\0\0WEBP", "WebP"),
    ] {
        check("a signature", bytes, Unreadable { format });
    }
    for format in NEW_FORMATS {
        let name = format.to_mime_type();
        let huge = encoded(&GrayImage::new(1, 8193), format);
        check(name, &huge, TooLarge { width: 1, height: 8193 });
        check(name, &encoded(&GrayImage::new(7, 7), format), TooSmall { width: 7, height: 7 });
        check(name, &encoded(&GrayImage::new(30, 20), format), NoDigit);
    }
    check("too many pixels", &white_png(20_000, 20_000), TooLarge { width: 20_000, height: 20_000 });
    check("a row too many", &huge, TooLarge { width: 28, height: 8193 });
    check("a pixel", &white_png(1, 1), TooSmall { width: 1, height: 1 });
    check("a blank PNG", &white_png(300, 200), NoDigit);
    check("a blank JPEG", &jpeg(GrayImage::new(30, 20), 80), NoDigit);
    check("a faint digit", &png(faint), NoDigit);
}

#[test]
fn a_damaged_png_or_jpeg_is_refused() {
    let large = enlarged(seven(), 4);
    let whole = png(large.clone());
    let mut flipped_bit = whole.clone();
    flipped_bit[whole.len() / 2] ^= 1;
    for (what, bytes) in [
        ("a signature", &whole[..8]),
        ("half", &whole[..whole.len() / 2]),
        ("without its end", &whole[..whole.len() - 12]),
        ("with a flipped bit", &flipped_bit),
    ] {
        check(what, bytes, PictureError::Unreadable { format: "PNG" });
    }

    let thumbnailed = with_thumbnail(jpeg(large.clone(), 80), &jpeg(grey(seven()), 80));
    assert!(from_bytes(&thumbnailed).is_ok());
    let lossless = jpeg_with(&large, |frame| frame[1] = 0xc3);
    let no_rows = jpeg_with(&large, |frame| frame[5..7].fill(0));
    for (what, bytes) in [
        ("a signature", &[0xff, 0xd8, 0xff][..]),
        ("cut short after its thumbnail", &thumbnailed[..thumbnailed.len() - 300]),
        ("lossless", &lossless),
        ("without rows", &no_rows),
    ] {
        check(what, bytes, PictureError::Unreadable { format: "JPEG" });
    }
}

#[test]
fn the_error_of_a_file_that_cannot_be_read_names_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("text.png"), "a seven").unwrap();
    fs::create_dir(path("folder.png")).unwrap();
    File::create(path("endless.png")).unwrap().set_len(1 << 40).unwrap();
    for name in ["text.png", "folder.png", "endless.png", "missing.png"] {
        let error = digit::read(&path(name)).unwrap_err();
        assert!(error.to_string().contains(&path(name).display().to_string()), "{error}");
        let is_expected = match &error {
            Error::Picture { reason, .. } => name == "text.png" && *reason == PictureError::UnknownFormat,
            Error::File(FileError::NotRegular { .. }) => name == "folder.png",
            Error::File(FileError::TooLarge { .. }) => name == "endless.png",
            Error::File(error) => name == "missing.png" && error.is_not_found(),
        };
        assert!(is_expected, "{name}: {error:?}");
    }
}

#[test]
fn damaged_pictures_give_a_digit_or_an_error() {
    try_damaged(37, 100);
}

#[test]
#[ignore = "slow"]
fn pictures_damaged_anywhere_give_a_digit_or_an_error() {
    let (tried, digits) = try_damaged(1, 3000);
    crate::common::tally("Pictures cut short anywhere or with bytes changed", tried, tried);
    // Most PNGs are refused, because of their checksums; most JPEGs and BMPs are read.
    assert!((300..2700).contains(&digits), "{digits} of 3000 were read");
}

/// Cuts pictures after every `step` bytes, and changes bytes in `changes` pictures. Returns the number of tries, and that of
/// the changed pictures that were read.
fn try_damaged(step: usize, changes: usize) -> (usize, usize) {
    let picture = enlarged(seven(), 2);
    let mut whole = vec![png(picture.clone()), jpeg(picture.clone(), 80), palette(&picture)];
    whole.extend(NEW_FORMATS.map(|format| encoded(&picture, format)));
    whole.push(fs::read(crate::common::checkout().join("tests/data/four.webp")).unwrap());
    let mut tried = changes;
    for bytes in &whole {
        let digit = from_bytes(bytes).unwrap();
        for length in (0..bytes.len()).step_by(step) {
            tried += 1;
            let cut = from_bytes(&bytes[..length]);
            assert!(cut.is_err() || cut.unwrap() == digit, "cut to {length} bytes, it shows another digit");
        }
    }
    let generator = Generator::new(0);
    let mut digits = 0;
    for _ in 0..changes {
        let mut bytes = whole[generator.random() as usize % whole.len()].clone();
        for _ in 0..1 + generator.random() % 4 {
            let place = generator.random() as usize % bytes.len();
            bytes[place] = generator.random() as u8;
        }
        digits += usize::from(from_bytes(&bytes).is_ok());
    }
    (tried, digits)
}
