//! Tensors in safetensors files.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use insta::assert_snapshot;
use islp_mnist::compare::Verdict;
use islp_mnist::internals::compare_contents;
use safetensors::Dtype;

use super::{METRICS, Pair, f32s, model, safetensors, with_header};

#[test]
fn the_first_and_the_largest_difference_are_reported_with_index_values_and_distance() {
    let up = |value: f32, ulps: u32| f32::from_bits(value.to_bits() + ulps);
    let reference = model(&[0.5, 0.25, 1.0, 0.5]);
    let mut candidate = model(&[0.5, up(0.25, 1), 1.0, up(0.5, 4)]);
    let last_but_one = candidate.len() - 8..candidate.len() - 4;
    candidate[last_but_one].copy_from_slice(&(-4f32).to_le_bytes());
    assert_snapshot!(Pair::of("m.safetensors", reference, candidate).report(), @"
    m.safetensors: 2 of 2 tensors differ
        0.bias [4]: 2 of 4 values differ, by 4 ULPs at most; first at [1]: reference 0.25, candidate 0.25000003 (1 ULP); largest at [3]: reference 0.5, candidate 0.50000024 (4 ULPs)
        0.weight [2, 3]: 1 of 6 values differs; first at [1, 1]: reference 4.0, candidate -4.0 (relative difference 2.0e0)
    different: 1 of 1 file, 2 of 2 tensors
    ");
}

#[test]
fn bits_decide_about_zeros_and_nans() {
    let other_nan = f32::from_bits(0x7fc0_0001);
    let reference = model(&[f32::NAN, 0.0, f32::NAN, f32::NAN, 1.0]);
    let candidate = model(&[f32::NAN, -0.0, other_nan, 1.0, f32::INFINITY]);
    assert_snapshot!(Pair::of("m.safetensors", reference, candidate).report(), @"
    m.safetensors: 1 of 2 tensors differs
        0.bias [5]: 4 of 5 values differ; first at [1]: reference 0.0, candidate -0.0 (1 ULP); largest at [3]: reference NaN 0x7fc00000, candidate 1.0
        0.weight [2, 3]: identical
    different: 1 of 1 file, 1 of 2 tensors
    ");
}

#[test]
fn extra_tensors_other_layouts_and_bytes_of_any_dtype_are_reported() {
    let (four, eight) = (vec![0; 4], vec![0; 8]);
    let reference = safetensors(&[
        ("bytes", Dtype::U8, &[2, 2], four.clone()),
        ("dtype", Dtype::F32, &[2], eight.clone()),
        ("f4", Dtype::F4, &[4], vec![0, 0]),
        ("missing", Dtype::F32, &[1, 1], four.clone()),
        ("none", Dtype::F32, &[3, 0], vec![]),
        ("shape", Dtype::F32, &[2, 1], eight.clone()),
    ]);
    let candidate = safetensors(&[
        ("bytes", Dtype::U8, &[2, 2], vec![0, 0, 0, 1]),
        ("dtype", Dtype::F64, &[1], eight.clone()),
        ("f4", Dtype::F4, &[4], vec![0, 0x80]),
        ("none", Dtype::F32, &[3, 0], vec![]),
        ("shape", Dtype::F32, &[1, 2], eight),
        ("surplus\u{1b}", Dtype::F32, &[], four),
    ]);
    assert_snapshot!(Pair::of("m.safetensors", reference, candidate).report(), @r"
    m.safetensors: 6 of 7 tensors differ
        bytes [2, 2]: 1 of 4 values differs; first at [1, 1]: reference 0, candidate 1
        dtype [2]: reference F32 [2], candidate F64 [1]
        f4 [4]: the bytes differ, first at byte 1
        missing [1, 1]: only in the reference
        none [3, 0]: identical
        shape [2, 1]: reference F32 [2, 1], candidate F32 [1, 2]
        surplus\u{1b} []: only in the candidate
    different: 1 of 1 file, 6 of 7 tensors
    ");
}

#[test]
fn the_same_tensors_under_another_header_are_identical() {
    let plain = with_header(r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, &[1, 2, 3, 4]);
    // A long number inside a string is a string.
    let header = r#"{"__metadata__":{"state \" \\":"1234567890123456789012345"},
        "a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}  "#;
    assert_snapshot!(Pair::of("m.safetensors", plain, with_header(header, &[1, 2, 3, 4])).report(), @"
    m.safetensors: identical (1 tensor; same tensors, different header)
        a [1]: identical
    identical: 1 file, 1 tensor, 0 differences
    ");
}

/// The report on two tensors of one dtype, and the exit code.
fn values(dtype: Dtype, [reference, candidate]: [&[u8]; 2], options: &str) -> (String, i32) {
    let length = reference.len() * 8 / dtype.bitsize();
    let file = |data: &[u8]| safetensors(&[("x", dtype, &[length], data.to_vec())]);
    Pair::of("m.safetensors", file(reference), file(candidate)).compare(options)
}

#[test]
fn values_of_each_dtype_are_read_and_have_a_distance() {
    let f32s = |a: f32, b: f32| (Dtype::F32, [a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()]);
    let f64s = |a: f64, b: f64| (Dtype::F64, [a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()]);
    let i64s = |a: i64, b: i64| (Dtype::I64, [a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()]);
    let u64s = |a: u64, b: u64| (Dtype::U64, [a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()]);
    let f16s = |a: u16, b: u16| (Dtype::F16, [a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()]);
    let bf16s = |a: u16, b: u16| (Dtype::BF16, [a.to_le_bytes().to_vec(), b.to_le_bytes().to_vec()]);
    let one = 1f32.to_bits();
    for ((dtype, [a, b]), expected) in [
        (f32s(1.0, f32::from_bits(one + 9999)), "reference 1.0, candidate 1.001192 (9999 ULPs)"),
        (
            f32s(1.0, f32::from_bits(one + 10000)),
            "reference 1.0, candidate 1.0011921 (relative difference 1.2e-3)",
        ),
        (f32s(-1.0, 1e-30), "reference -1.0, candidate 1e-30 (relative difference 1.0e0)"),
        (f32s(0.0, 3.0), "reference 0.0, candidate 3.0 (relative difference 1.0e0)"),
        (f32s(f32::MAX, f32::MIN), "candidate -3.4028235e38 (relative difference 2.0e0)"),
        (f32s(f32::MAX, f32::INFINITY), "candidate inf"),
        (f32s(f32::NAN, f32::from_bits(0x7fc0_0001)), "reference NaN 0x7fc00000, candidate NaN 0x7fc00001"),
        (f64s(0.1, 0.1 + 1e-17 + 2e-17), "reference 0.1, candidate 0.10000000000000003 (2 ULPs)"),
        (bf16s(0x4000, 0x4002), "reference 2.0, candidate 2.03125 (2 ULPs)"),
        (f16s(0x4000, 0x4003), "reference 2.0, candidate 2.0058594 (3 ULPs)"),
        (f16s(0x8000, 0x0000), "reference -0.0, candidate 0.0 (1 ULP)"),
        (f16s(0x7e00, 0x7e01), "reference NaN 0x7e00, candidate NaN 0x7e01"),
        (i64s(-7, 5), "reference -7, candidate 5"),
        (u64s(u64::MAX, 0), "reference 18446744073709551615, candidate 0"),
    ] {
        let (text, code) = values(dtype, [&a, &b], "");
        let first = text.split("first at [0]: ").nth(1).unwrap().lines().next().unwrap();
        assert!(code == 1 && first.ends_with(expected), "{dtype}: {text}");
    }
    let json = values(Dtype::U64, [&[0xff; 8], &[0; 8]], "--json").0;
    assert!(json.contains("\"reference\": 18446744073709551615,"), "{json}");
}

#[test]
fn a_tolerance_applies_to_every_dtype_that_is_read_as_numbers() {
    let (one, minus_one) = ([1, 0, 0, 0, 0, 0, 0, 0], [0xff; 8]);
    let cases: [(Dtype, &[u8]); 13] = [
        (Dtype::BOOL, &one[..1]),
        (Dtype::U8, &one[..1]),
        (Dtype::U16, &one[..2]),
        (Dtype::U32, &one[..4]),
        (Dtype::U64, &one),
        (Dtype::I8, &minus_one[..1]),
        (Dtype::I16, &minus_one[..2]),
        (Dtype::I32, &minus_one[..4]),
        (Dtype::I64, &minus_one),
        (Dtype::F16, &[0, 0x3c]),
        (Dtype::BF16, &[0x80, 0x3f]),
        (Dtype::F32, &[0, 0, 0x80, 0x3f]),
        (Dtype::F64, &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f]),
    ];
    for (dtype, one_apart) in cases {
        let zero = vec![0; one_apart.len()];
        let (text, code) = values(dtype, [one_apart, &zero], "--atol 1");
        assert!(code == 0 && text.contains("; 1 number differs, by 1.000e0 at most"), "{dtype}: {text}");
        assert_eq!(values(dtype, [one_apart, &zero], "--atol 0.9").1, 1, "{dtype}");
    }
    let (text, code) = values(Dtype::F8_E4M3, [&[1, 2], &[1, 3]], "--atol 9");
    let reason = "the tolerance does not apply: values of F8_E4M3 are not read as numbers";
    assert!(code == 1 && text.contains(reason), "{text}");
}

#[test]
fn whole_numbers_are_compared_exactly() {
    let (a, b) = (1i64 << 53, (1i64 << 53) + 1);
    let (text, code) = values(Dtype::I64, [&a.to_le_bytes(), &b.to_le_bytes()], "--atol 0.5");
    assert!(code == 1 && text.contains("by 1.000e0 at most"), "{text}");
    for (file, before) in [("stdout.txt", "loss: "), ("metrics.csv", "loss\n")] {
        let pair = Pair::of(file, format!("{before}{a}\n"), format!("{before}{b}\n"));
        let code = |options| pair.compare_file(file, options).1;
        assert_eq!((code("--atol 0.5"), code("--atol 1")), (1, 0), "{file}");
    }
}

#[test]
fn names_that_differ_by_a_wrapper_or_are_python_aliases_are_one_name() {
    type Named = [(&'static str, f32)];
    let file = |tensors: &Named| {
        let tensors = tensors.iter().map(|(name, value)| (*name, Dtype::F32, &[1][..], f32s(&[*value])));
        safetensors(&tensors.collect::<Vec<_>>())
    };
    let (alias, name) = ("_forward.0.1.bias", "layer1.1.bias");
    let both = &[(alias, 1.0), (name, 1.0)][..];
    let cases: [(&Named, &Named, i32); 8] = [
        (&[("a", 1.0), ("b", 2.0)], &[("module.a", 1.0), ("module.b", 2.0)], 0),
        (&[("model.a", 1.0), ("model.b", 2.0)], &[("module.a", 1.0), ("module.b", 2.0)], 0),
        // Not before every name.
        (&[("a", 1.0), ("b", 2.0)], &[("module.a", 1.0), ("b", 2.0)], 1),
        (&[("a", 1.0), ("module.a", 2.0)], &[("a", 1.0), ("module.a", 2.0)], 0),
        (&[(name, 1.0)], &[(alias, 1.0)], 0),
        (both, &[(name, 1.0)], 0),
        (&[(alias, 1.0)], both, 0),
        // Two names, two tensors.
        (&[(name, 1.0)], &[(alias, 2.0), (name, 1.0)], 1),
    ];
    for (reference, candidate, code) in cases {
        let pair = Pair::of("m.safetensors", file(reference), file(candidate));
        assert_eq!(pair.code(""), code, "{reference:?} and {candidate:?}");
    }
    // Two states of the optimizer under names that become one.
    let states = ["module.a", "optimizer.square_avg.module.a", "module.optimizer.square_avg.a"];
    let twice = file(&states.map(|name| (name, 1.0)));
    let (text, code) = Pair::new().both("m.safetensors", twice).compare("");
    assert!(code == 2 && text.contains(states[1]) && text.contains(states[2]), "{text}");
}

/// Fails unless the report on one file says that it can't be read, and names it.
fn assert_refused(pair: &Pair, file: &str) {
    let report = pair.report();
    let start = format!("{file}: could not compare: ");
    // Metrics are a run's, and this one has no weights.
    let and = if file == "metrics.csv" { ", and no weights were compared" } else { "" };
    let end = format!("could not compare: 1 of 1 file{and}; different: 0 of 1 file, 0 of 0 tensors");
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!((lines.len(), *lines.last().unwrap()), (2, end.as_str()), "{report}");
    assert!(lines[0].starts_with(&start) && lines[0].contains(&format!("DIR/candidate/{file}")), "{report}");
}

#[test]
fn a_broken_safetensors_file_is_refused_by_name() {
    let good = model(&[1.0, 2.0]);
    let lying = |info: &str| with_header(&format!(r#"{{"a":{{"dtype":"F32",{info}}}}}"#), &[0; 8]);
    // Eight tensors of 2^61 - 1 bytes each: every one is consistent, and together they end 8 bytes before 2^64, so that
    // adding the header's length overflows.
    let size = (1u64 << 61) - 1;
    let info = |i: u64| {
        let (start, end) = (i * size, (i + 1) * size);
        format!(r#""{i}":{{"dtype":"U8","shape":[{size}],"data_offsets":[{start},{end}]}}"#)
    };
    let overflowing = format!("{{{}}}", (0..8).map(info).collect::<Vec<_>>().join(","));
    for bad in [
        vec![],
        [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
        lying(r#""shape":[2],"data_offsets":[0,4]"#),
        lying(r#""shape":[2],"data_offsets":[4,8]"#),
        lying(r#""shape":[999999999999,999999999999],"data_offsets":[0,8]"#),
        with_header(&overflowing, &[]),
        with_header(&"[".repeat(1000), &[]),
    ] {
        assert_refused(&Pair::of("m.safetensors", &good, bad), "m.safetensors");
    }
}

#[test]
fn a_folder_a_pipe_or_too_large_a_file_in_place_of_a_file_is_refused() {
    for file in ["metrics.csv", "m.safetensors", "stdout.txt", "run.trace"] {
        let good = if file == "run.trace" { "{\"trace\":1}\n" } else { "" };
        let pair = Pair::new().with(&format!("reference/{file}"), good);
        let candidate = pair.path("candidate").join(file);
        fs::create_dir(&candidate).unwrap();
        fs::write(candidate.join("metrics.csv"), METRICS).unwrap();
        assert_refused(&pair, file);
        fs::remove_dir_all(&candidate).unwrap();
        assert!(Command::new("mkfifo").arg(&candidate).status().unwrap().success());
        assert_refused(&pair, file);
    }
    let pair = Pair::new().both("stdout.txt", "");
    // Of zeros that take no room on the disk.
    File::create(pair.path("candidate/stdout.txt")).unwrap().set_len((64 << 20) + 1).unwrap();
    assert_refused(&pair, "stdout.txt");
}

#[test]
fn no_truncated_or_altered_file_passes_for_the_original_or_crashes() {
    let model = model(&[0.5, 0.25]);
    let mut random = 1u32;
    for (file, good) in [("metrics.csv", METRICS.as_bytes()), ("m.safetensors", &model)] {
        let is_identical = |bad: &[u8]| {
            let report = compare_contents(Path::new(file), good, bad).unwrap();
            report.verdict() == Verdict::Identical
        };
        for length in 0..good.len() {
            assert!(!is_identical(&good[..length]), "{file} cut to {length} bytes");
        }
        for _ in 0..2000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let (place, bit) = (random as usize / 8 % good.len(), 1 << (random >> 29));
            let mut bad = good.to_vec();
            bad[place] ^= bit;
            // One bit in the header's padding or letters can leave the tensors as they are, and only there.
            let header = 8 + u64::from_le_bytes(model[..8].try_into().unwrap()) as usize;
            let may_pass = file == "m.safetensors" && place < header;
            assert!(!is_identical(&bad) || may_pass, "{file}, byte {place}, bit {bit:#x}");
        }
        assert!(is_identical(good), "{file} itself");
    }
}

#[test]
fn a_candidate_with_other_names_is_compared_under_the_references() {
    let tensors = |names: [&str; 3], value: f32| {
        let tensors = names.map(|name| (name, Dtype::F32, &[1][..], f32s(&[value])));
        safetensors(&tensors)
    };
    let reference = tensors(["0.bias", "0.weight", "optimizer.square_avg.0.weight"], 1.0);
    let candidate = tensors(["d.bias", "d.kernel", "optimizer.square_avg.d.kernel"], 1.0);
    let pair = Pair::of("m.safetensors", reference, candidate);
    let code = |options: &str| pair.compare_file("m.safetensors", options).1;
    assert_eq!((code(""), code("--rename d.*=0.*"), code("--rename d.kernel=0.weight")), (1, 1, 1));
    assert_eq!(code("--rename d.kernel=0.weight --rename d.bias=0.bias"), 0);
    assert_eq!(code("--rename d.kernel=0.weight --rename d.bias=0.weight"), 2, "two become one");
}

#[test]
fn a_candidates_matrix_can_be_transposed() {
    let tensors = |name: &str, shape: &[usize], values: &[f32]| {
        safetensors(&[(name, Dtype::F32, shape, f32s(values)), ("vector", Dtype::F32, &[1], f32s(&[1.0]))])
    };
    let reference = tensors("weight", &[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let candidate = tensors("kernel", &[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let pair = Pair::of("m.safetensors", reference, candidate);
    let compare = |options: &str| pair.compare_file("m.safetensors", options);
    assert_eq!(compare("--rename kernel=weight").1, 1);
    assert_eq!(compare("--rename kernel=weight --transpose weight").1, 0);
    let (text, code) = compare("--transpose vector");
    assert!(
        code == 2 && text.contains("vector [1] of the candidate is not a matrix, and can't be transposed"),
        "{text}"
    );
}
