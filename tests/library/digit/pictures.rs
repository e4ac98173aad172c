//! Makes pictures of MNIST's images.

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb};
use islp_mnist::digit::Digit;
use islp_mnist::torch::Generator;

/// The image as a picture, light on dark.
pub fn grey(digit: &Digit) -> GrayImage {
    GrayImage::from_raw(28, 28, digit.to_vec()).unwrap()
}

/// The same, larger and smoothly scaled.
pub fn enlarged(digit: &Digit, times: u32) -> GrayImage {
    imageops::resize(&grey(digit), 28 * times, 28 * times, FilterType::CatmullRom)
}

/// The same, dark on light.
pub fn inverted(mut picture: GrayImage) -> GrayImage {
    imageops::invert(&mut picture);
    picture
}

/// The picture somewhere on a larger black one.
pub fn on_canvas(picture: &GrayImage, width: u32, height: u32, number: u32) -> GrayImage {
    let mut canvas = GrayImage::new(width, height);
    let x = number * 7 % (width - picture.width() + 1);
    let y = number * 5 % (height - picture.height() + 1);
    imageops::replace(&mut canvas, picture, x.into(), y.into());
    canvas
}

/// The picture cropped to its ink.
pub fn cropped(picture: &GrayImage) -> GrayImage {
    let ink = || picture.enumerate_pixels().filter(|(_, _, value)| value.0[0] > 64);
    let (left, right) = (ink().map(|at| at.0).min().unwrap(), ink().map(|at| at.0).max().unwrap());
    let (top, bottom) = (ink().map(|at| at.1).min().unwrap(), ink().map(|at| at.1).max().unwrap());
    imageops::crop_imm(picture, left, top, right - left + 1, bottom - top + 1).to_image()
}

/// The picture in dark grey on light paper, which has a texture and is lit from the right.
pub fn on_paper(picture: &GrayImage, seed: u32) -> GrayImage {
    let (width, height) = picture.dimensions();
    let texture = Generator::new(seed.into()).uniform((width * height) as usize, -12.0, 12.0);
    GrayImage::from_fn(width, height, |x, y| {
        let ink = f32::from(picture.get_pixel(x, y).0[0]) / 255.0;
        let light = 30.0 * x as f32 / width as f32;
        Luma([(195.0 - 135.0 * ink + light + texture[(y * width + x) as usize]).round() as u8])
    })
}

/// The picture in blue on yellow.
pub fn in_colours(picture: &GrayImage) -> DynamicImage {
    let mix = |ink: u8, from: f32, to: f32| (from + (to - from) * f32::from(ink) / 255.0) as u8;
    let colour = |ink| Rgb([mix(ink, 250.0, 20.0), mix(ink, 240.0, 40.0), mix(ink, 150.0, 160.0)]);
    let (width, height) = picture.dimensions();
    image::RgbImage::from_fn(width, height, |x, y| colour(picture.get_pixel(x, y).0[0])).into()
}

pub fn black_and_white(mut picture: GrayImage) -> GrayImage {
    picture.iter_mut().for_each(|value| *value = if *value > 127 { 0 } else { 255 });
    picture
}

pub fn png(picture: impl Into<DynamicImage>) -> Vec<u8> {
    let mut bytes = Cursor::new(vec![]);
    picture.into().write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A lossless file of this format.
pub fn encoded(picture: &GrayImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(vec![]);
    match format {
        ImageFormat::Gif => DynamicImage::from(picture.clone()).to_rgba8().write_to(&mut bytes, format),
        _ => picture.write_to(&mut bytes, format),
    }
    .unwrap();
    bytes.into_inner()
}

pub fn jpeg(picture: impl Into<DynamicImage>, quality: u8) -> Vec<u8> {
    let mut bytes = vec![];
    JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(&picture.into()).unwrap();
    bytes
}

/// A PNG with a palette of 256 greys from white to black.
pub fn palette(picture: &GrayImage) -> Vec<u8> {
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, picture.width(), picture.height());
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_palette((0..=255u8).rev().flat_map(|value| [value; 3]).collect::<Vec<_>>());
    let indices: Vec<u8> = picture.iter().map(|value| 255 - value).collect();
    encoder.write_header().unwrap().write_image_data(&indices).unwrap();
    bytes
}

/// The picture as a JPEG whose frame header was changed.
pub fn jpeg_with(picture: &GrayImage, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = jpeg(picture.clone(), 80);
    let frame = bytes.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    change(&mut bytes[frame..]);
    bytes
}

/// A JPEG whose metadata contain another one.
pub fn with_thumbnail(mut jpeg: Vec<u8>, thumbnail: &[u8]) -> Vec<u8> {
    let length = (thumbnail.len() as u16 + 2).to_be_bytes();
    jpeg.splice(2..2, [&[0xff, 0xe1], &length[..], thumbnail].concat());
    jpeg
}

/// A valid PNG of this size, some fifty kilobytes for 20,000x20,000 pixels.
pub fn white_png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = vec![];
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_depth(png::BitDepth::One);
    let white = vec![255; width.div_ceil(8) as usize * height as usize];
    encoder.write_header().unwrap().write_image_data(&white).unwrap();
    bytes
}
