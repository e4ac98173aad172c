//! Pictures of digits made from MNIST's test images, read back and held against the image and the model's answers;
//! files that are no such picture, with the error line of each.

mod common;

use std::fs::{self, File};
use std::io::Cursor;
use std::process::Command;
use std::sync::LazyLock;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::imageops::{self, FilterType};
use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageEncoder, Luma, LumaA, Rgb, RgbaImage,
};
use islp_mnist::digit::{self, Digit};
use islp_mnist::notebook::weights;
use islp_mnist::torch::generator::Generator;
use islp_mnist::torchvision;
use tch::{Device, Kind, Tensor};

struct TestSet {
    digits: Vec<Digit>,
    labels: Vec<i64>,
}

/// MNIST's 10,000 test images.
static TEST_SET: LazyLock<TestSet> = LazyLock::new(|| {
    tch::set_num_threads(1);
    let mnist = torchvision::load(&common::data_dir(), Device::Cpu).unwrap();
    let values = (mnist.test_images * 255).round().to_kind(Kind::Uint8).flatten(0, -1);
    let values = Vec::<u8>::try_from(values).unwrap();
    TestSet {
        digits: values.chunks(28 * 28).map(|image| image.try_into().unwrap()).collect(),
        labels: mnist.test_labels.try_into().unwrap(),
    }
});

fn grey(digit: &Digit) -> GrayImage {
    GrayImage::from_raw(28, 28, digit.to_vec()).unwrap()
}

/// The digit as a larger picture, smooth, light on dark.
fn enlarged(digit: &Digit, times: u32) -> GrayImage {
    imageops::resize(&grey(digit), 28 * times, 28 * times, FilterType::CatmullRom)
}

fn inverted(mut picture: GrayImage) -> GrayImage {
    imageops::invert(&mut picture);
    picture
}

/// The picture on a larger black one.
fn on_canvas(picture: &GrayImage, [width, height]: [u32; 2], [x, y]: [u32; 2]) -> GrayImage {
    let mut canvas = GrayImage::new(width, height);
    imageops::replace(&mut canvas, picture, x.into(), y.into());
    canvas
}

/// The picture without whatever is around the ink.
fn cropped(picture: &GrayImage) -> GrayImage {
    let ink: Vec<_> = picture.enumerate_pixels().filter(|(_, _, value)| value.0[0] > 64).collect();
    let range = |of: fn(&(u32, u32, &Luma<u8>)) -> u32| {
        let start = ink.iter().map(of).min().unwrap();
        (start, ink.iter().map(of).max().unwrap() - start + 1)
    };
    let ((x, width), (y, height)) = (range(|pixel| pixel.0), range(|pixel| pixel.1));
    imageops::crop_imm(picture, x, y, width, height).to_image()
}

/// The picture written in dark grey on light paper that has a texture and is lit from the right; `seed` is the
/// texture's.
fn on_paper(picture: &GrayImage, seed: u64) -> GrayImage {
    let (width, height) = picture.dimensions();
    let texture = Generator::new(seed).uniform((width * height) as usize, -12.0, 12.0);
    GrayImage::from_fn(width, height, |x, y| {
        let ink = f32::from(picture.get_pixel(x, y).0[0]) / 255.0;
        let light = 30.0 * x as f32 / width as f32;
        let value = 195.0 - 135.0 * ink + light + texture[(y * width + x) as usize];
        Luma([value.round() as u8])
    })
}

fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(vec![]);
    picture.into().write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn jpeg(picture: impl Into<DynamicImage>, quality: u8) -> Vec<u8> {
    let mut bytes = vec![];
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(&picture.into()).unwrap();
    bytes
}

/// The pictures' mean absolute difference from the images they were made of, in grey values.
fn difference(digits: &[Digit], originals: &[Digit]) -> f64 {
    let pairs = digits.iter().flatten().zip(originals.iter().flatten());
    pairs.map(|(a, b)| f64::from(a.abs_diff(*b))).sum::<f64>() / (digits.len() * 28 * 28) as f64
}

/// The part of the digits that the model of the tracked reference run takes for what they are.
fn accuracy(digits: &[Digit]) -> f64 {
    let model = weights::load(&common::checkout().join("output/MNIST/version_0"), Device::Cpu).unwrap();
    let images = Tensor::from_slice(digits.as_flattened()).view([-1, 1, 28, 28]).to_kind(Kind::Float) / 255;
    let guesses = tch::no_grad(|| model.forward(&images, false).unwrap()).argmax(-1, false);
    let labels = Tensor::from_slice(&TEST_SET.labels[..digits.len()]);
    guesses.eq_tensor(&labels).to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
}

#[test]
fn an_image_of_mnist_comes_back_as_it_is() {
    for digit in &TEST_SET.digits {
        assert!(digit::from_bytes(&png(grey(digit))).unwrap() == *digit);
    }
    for digit in &TEST_SET.digits[..100] {
        assert!(digit::from_bytes(&png(inverted(grey(digit)))).unwrap() == *digit);
    }
}

#[test]
fn the_colour_type_changes_nothing() {
    for digit in &TEST_SET.digits[..100] {
        let light = grey(digit);
        let dark = inverted(light.clone());
        let opaque = |value: u8| LumaA([value, 255]);
        let wide: ImageBuffer<Luma<u16>, _> =
            ImageBuffer::from_fn(28, 28, |x, y| Luma([u16::from(dark.get_pixel(x, y).0[0]) * 257]));
        let rgba = |ink: u8| {
            RgbaImage::from_fn(28, 28, |x, y| image::Rgba([ink, ink, ink, light.get_pixel(x, y).0[0]]))
        };
        let pictures: [(&str, DynamicImage); 7] = [
            ("RGB", DynamicImage::from(dark.clone()).into_rgb8().into()),
            ("16-bit grey", wide.clone().into()),
            ("16-bit RGB", DynamicImage::from(wide.clone()).into_rgb16().into()),
            ("16-bit RGBA", DynamicImage::from(wide).into_rgba16().into()),
            ("opaque", GrayAlphaImage::from_fn(28, 28, |x, y| opaque(dark.get_pixel(x, y).0[0])).into()),
            ("black on nothing", rgba(0).into()),
            ("white on nothing", rgba(255).into()),
        ];
        for (name, picture) in pictures {
            assert!(digit::from_bytes(&png(picture)).unwrap() == *digit, "{name}");
        }
        assert!(digit::from_bytes(&palette(&dark)).unwrap() == *digit, "palette");
    }
}

/// A PNG with a palette of 256 greys from white to black.
fn palette(picture: &GrayImage) -> Vec<u8> {
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette((0..=255u8).rev().flat_map(|value| [value; 3]).collect::<Vec<_>>());
    let indices: Vec<u8> = picture.iter().map(|value| 255 - value).collect();
    encoder.write_header().unwrap().write_image_data(&indices).unwrap();
    bytes
}

#[test]
fn a_picture_is_turned_as_its_exif_data_say() {
    use imageops::{flip_horizontal, flip_vertical, rotate90, rotate180, rotate270};
    /// What a camera stores for a picture that is to be seen upright.
    type Stored = fn(&GrayImage) -> GrayImage;
    let orientations: [Stored; 8] = [
        |upright| upright.clone(),
        |upright| flip_horizontal(upright),
        |upright| rotate180(upright),
        |upright| flip_vertical(upright),
        |upright| flip_horizontal(&rotate90(upright)),
        |upright| rotate270(upright),
        |upright| flip_horizontal(&rotate270(upright)),
        |upright| rotate90(upright),
    ];
    for (digit, (stored, value)) in TEST_SET.digits.iter().zip(orientations.into_iter().zip(1u8..)) {
        // A TIFF header and one entry, tag 0x112.
        let exif =
            [b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".as_slice(), &[value, 0, 0, 0, 0, 0, 0, 0]];
        let exif = exif.concat();
        let mut bytes = vec![];
        let mut encoder = PngEncoder::new(&mut bytes);
        encoder.set_exif_metadata(exif.clone()).unwrap();
        encoder.write_image(&stored(&grey(digit)), 28, 28, image::ExtendedColorType::L8).unwrap();
        assert!(digit::from_bytes(&bytes).unwrap() == *digit, "PNG, orientation {value}");

        let mut bytes = vec![];
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
        encoder.set_exif_metadata(exif).unwrap();
        encoder.encode_image(&stored(&enlarged(digit, 4))).unwrap();
        let turned = digit::from_bytes(&bytes).unwrap();
        assert!(difference(&[turned], &[*digit]) < 12.0, "JPEG, orientation {value}");
    }
}

/// Writes the first 500 test images as pictures of one kind and reads them: they must differ from the images by less
/// than `largest_difference` on average, and the model must know as many of them, give or take 2%.
fn assert_known(largest_difference: f64, picture: impl Fn(&Digit, u32) -> Vec<u8>) {
    let originals = &TEST_SET.digits[..500];
    let digits: Vec<Digit> = originals
        .iter()
        .zip(0..)
        .map(|(digit, number)| digit::from_bytes(&picture(digit, number)).unwrap())
        .collect();
    let difference = difference(&digits, originals);
    let (expected, accuracy) = (accuracy(originals), accuracy(&digits));
    println!("accuracy {accuracy:.3} instead of {expected:.3}, difference {difference:.2}");
    assert!(difference < largest_difference, "they differ by {difference}");
    assert!((accuracy - expected).abs() <= 0.02, "accuracy {accuracy} instead of {expected}");
    for digit in &digits {
        assert!(digit::from_bytes(&png(grey(digit))).unwrap() == *digit, "read again, it changes");
    }
}

#[test]
fn a_digit_ten_times_as_large_is_known() {
    assert_known(7.0, |digit, _| png(enlarged(digit, 10)));
}

#[test]
fn a_digit_drawn_in_black_on_white_is_known() {
    assert_known(7.0, |digit, _| {
        let mut picture = enlarged(digit, 5);
        picture.iter_mut().for_each(|value| *value = if *value > 127 { 0 } else { 255 });
        png(picture)
    });
}

#[test]
fn a_small_digit_anywhere_in_a_picture_is_known() {
    assert_known(3.0, |digit, number| {
        png(on_canvas(&grey(digit), [100, 60], [number * 7 % 73, number * 5 % 33]))
    });
}

#[test]
fn a_large_digit_anywhere_in_a_picture_is_known() {
    assert_known(7.5, |digit, number| {
        let place = [number * 7 % 188, number * 5 % 88];
        png(inverted(on_canvas(&enlarged(digit, 4), [300, 200], place)))
    });
}

#[test]
fn a_digit_cropped_to_its_ink_is_known() {
    assert_known(7.0, |digit, _| png(inverted(cropped(&enlarged(digit, 5)))));
    assert_known(3.5, |digit, _| png(cropped(&grey(digit))));
}

#[test]
fn a_digit_photographed_on_paper_is_known() {
    assert_known(8.0, |digit, number| jpeg(on_paper(&enlarged(digit, 5), number.into()), 80));
}

#[test]
fn a_digit_in_blue_on_yellow_is_known() {
    assert_known(7.5, |digit, _| {
        let picture = enlarged(digit, 5);
        let mix = |ink: u8, from: u8, to: u8| {
            let part = f32::from(ink) / 255.0;
            (f32::from(from) * (1.0 - part) + f32::from(to) * part) as u8
        };
        let colours = image::RgbImage::from_fn(140, 140, |x, y| {
            let ink = picture.get_pixel(x, y).0[0];
            Rgb([mix(ink, 250, 20), mix(ink, 240, 40), mix(ink, 150, 160)])
        });
        jpeg(colours, 90)
    });
}

#[test]
fn a_jpeg_of_quality_80_is_known() {
    assert_known(3.5, |digit, _| jpeg(grey(digit), 80));
    assert_known(7.5, |digit, _| jpeg(inverted(enlarged(digit, 5)), 80));
}

#[test]
fn a_speck_of_dust_is_no_ink() {
    let digit = &TEST_SET.digits[0];
    let mut picture = inverted(enlarged(digit, 10));
    let clean = digit::from_bytes(&png(picture.clone())).unwrap();
    for (x, y) in [(3, 3), (4, 3), (3, 4), (270, 100), (20, 275)] {
        picture.put_pixel(x, y, Luma([0]));
    }
    assert!(digit::from_bytes(&png(picture)).unwrap() == clean);
}

#[test]
fn an_image_is_shown_as_text() {
    let seven = "






            --##**++::..
            %%@@@@@@@@@@################**::
            ::==::==**%%@@%%@@@@@@@@%%@@@@++
                        ::  ::::::::  @@@@==
                                    --@@%%
                                    @@@@--
                                  ++@@@@..
                                ::@@@::
                                ++@@##
                                %%@@::
                              ==@@##
                            ::@@@::
                            %%@@**
                          ##@@%%..
                        ..@@@@--
                      ..%%@@==
                      ++@@@@::
                    ::@@@@@::
                    ==@@@@%%..
                    ==@@%%

";
    assert_eq!(format!("{}\n", digit::show(&TEST_SET.digits[0])), seven);
    let mut shades = [0; 28 * 28];
    shades[..11].copy_from_slice(&[0, 25, 26, 52, 77, 103, 128, 154, 180, 205, 255]);
    assert_eq!(digit::show(&shades), format!("    ..::--==++**##%%@@\n{}", "\n".repeat(26)));
}

/// A JPEG whose header announces this size.
fn jpeg_announcing(width: u16, height: u16) -> Vec<u8> {
    let mut bytes = jpeg(enlarged(&TEST_SET.digits[0], 4), 80);
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    bytes[frame + 5..frame + 7].copy_from_slice(&height.to_be_bytes());
    bytes[frame + 7..frame + 9].copy_from_slice(&width.to_be_bytes());
    bytes
}

/// A whole PNG of this size, some fifty kilobytes for 20,000x20,000 pixels.
fn white_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_depth(png::BitDepth::One);
    let white = vec![255; width.div_ceil(8) as usize * height as usize];
    encoder.write_header().unwrap().write_image_data(&white).unwrap();
    bytes
}

#[test]
fn what_is_no_picture_of_a_digit_is_refused_with_its_name_and_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let error_of = |name: &str| format!("{:#}", digit::read(&folder.path().join(name)).unwrap_err());
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let seven = &TEST_SET.digits[0];
    let large = enlarged(seven, 4);

    let mut thumbnailed = jpeg(large.clone(), 80);
    let thumbnail = jpeg(grey(seven), 80);
    let segment = [&[0xff, 0xe1], &(thumbnail.len() as u16 + 2).to_be_bytes()[..], &thumbnail].concat();
    thumbnailed.splice(2..2, segment);
    digit::from_bytes(&thumbnailed).unwrap();
    thumbnailed.truncate(thumbnailed.len() - 300);

    let mut lossless = jpeg(large.clone(), 80);
    let frame = lossless.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    lossless[frame + 1] = 0xc3;
    let mut flipped = png(large.clone());
    let middle = flipped.len() / 2;
    flipped[middle] ^= 1;

    let damaged_png =
        "a PNG that is damaged, cut short or of a rare kind; save the picture again as a plain PNG";
    let damaged_jpeg =
        "a JPEG that is damaged, cut short or of a rare kind; save the picture again as a plain JPEG";
    let another_kind = "neither PNG nor JPEG; convert it to one of them";
    let blank = "shows no digit, or too faint a one; take a picture with more contrast";
    let faint = GrayImage::from_fn(28, 28, |x, y| Luma([240 - large.get_pixel(x * 4, y * 4).0[0] / 12]));
    let mut tried = 0;
    let files: [(&str, Vec<u8>, &str); 17] = [
        ("empty.png", vec![], "an empty file; save the picture again"),
        ("text.png", b"a seven\n".to_vec(), another_kind),
        ("picture.gif", b"GIF89a\x1c\0\x1c\0\0\0\0;".to_vec(), another_kind),
        ("signature.png", b"\x89PNG\r\n\x1a\n".to_vec(), damaged_png),
        ("signature.jpg", vec![0xff, 0xd8, 0xff], damaged_jpeg),
        ("half.png", cut(png(large.clone())), damaged_png),
        ("half.jpg", cut(jpeg(large.clone(), 80)), damaged_jpeg),
        ("half_after_thumbnail.jpg", thumbnailed, damaged_jpeg),
        ("flipped_bit.png", flipped, damaged_png),
        ("lossless.jpg", lossless, damaged_jpeg),
        ("one_pixel.png", white_png(1, 1), blank),
        ("blank.png", white_png(300, 200), blank),
        ("blank.jpg", jpeg(GrayImage::new(30, 20), 80), blank),
        ("faint.png", png(faint), blank),
        (
            "bomb.png",
            white_png(20_000, 20_000),
            "20000x20000 pixels are too many; take a smaller picture, a few hundred pixels will do",
        ),
        (
            "bomb.jpg",
            jpeg_announcing(65_500, 65_500),
            "65500x65500 pixels are too many; take a smaller picture, a few hundred pixels will do",
        ),
        ("no_rows.jpg", jpeg_announcing(28, 0), damaged_jpeg),
    ];
    for (name, bytes, reason) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
        assert_eq!(error_of(name), format!("{}/{name}: {reason}", folder.path().display()));
        tried += 1;
    }

    let no_file = "not a regular file; name a PNG or JPEG picture of a digit";
    fs::create_dir(folder.path().join("folder.png")).unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("fifo.png")).status().unwrap().success());
    File::create(folder.path().join("endless.png")).unwrap().set_len(1 << 40).unwrap();
    for (name, reason) in [
        ("folder.png", no_file),
        ("fifo.png", no_file),
        ("missing.png", "no such file; name a PNG or JPEG picture of a digit"),
        ("endless.png", "more than 64 MiB; take a smaller picture, a few hundred pixels will do"),
    ] {
        assert_eq!(error_of(name), format!("{}/{name}: {reason}", folder.path().display()));
        tried += 1;
    }
    common::tally("Pictures for `predict` that are none, damaged, blank or too large", tried, tried);
}

#[test]
fn whatever_the_bytes_are_they_give_a_digit_or_an_error() {
    let picture = enlarged(&TEST_SET.digits[0], 2);
    let whole = [png(picture.clone()), jpeg(picture.clone(), 80), palette(&picture)];
    for bytes in &whole {
        let digit = digit::from_bytes(bytes).unwrap();
        for length in 0..bytes.len() {
            let cut = digit::from_bytes(&bytes[..length]);
            assert!(cut.is_err() || cut.unwrap() == digit, "cut to {length} bytes, it shows another digit");
        }
    }
    let generator = Generator::new(0);
    let mut digits = 0;
    for _ in 0..3000 {
        let mut bytes = whole[generator.random() as usize % whole.len()].clone();
        for _ in 0..1 + generator.random() % 4 {
            let place = generator.random() as usize % bytes.len();
            bytes[place] = generator.random() as u8;
        }
        digits += usize::from(digit::from_bytes(&bytes).is_ok());
    }
    let tried = whole.iter().map(Vec::len).sum::<usize>() + 3000;
    common::tally("Pictures cut short anywhere or with bytes changed", tried, tried);
    // Both happen: most PNGs are refused, for their checksums, and most JPEGs are read.
    assert!((300..2700).contains(&digits), "{digits} of 3000 were read");
}
