//! Printed texts as a whole. All that `reproduce` prints is in tests/program/reproduce.rs.

use std::fs;

use crate::common::{checkout, python, stdout_of};
use insta::assert_snapshot;
use islp_mnist::internals::{repr, tensor_of_digits, torch_size};
use islp_mnist::islp::Metrics;
use islp_mnist::lightning::{test_list, test_table};
use islp_mnist::notebook::models::{mnist_mlr, mnist_model};
use islp_mnist::torch::Generator;
use islp_mnist::torch::nn::Layer;
use islp_mnist::torchinfo::summary;
use tch::Device;
use tch::nn::VarStore;

fn models() -> [(&'static str, Box<dyn Layer>); 2] {
    let generator = Generator::new(0);
    let vs = [VarStore::new(Device::Cpu), VarStore::new(Device::Cpu)];
    [
        ("MNISTModel", Box::new(mnist_model(&vs[0].root(), &generator).unwrap())),
        ("MNIST_MLR", Box::new(mnist_mlr(&vs[1].root(), &generator).unwrap())),
    ]
}

#[test]
fn the_summaries_are_torchinfos() {
    for (name, model) in models() {
        for batch_size in [1, 20, 256, 100_000] {
            let path = checkout().join(format!("tests/golden/summary_{name}_{batch_size}.txt"));
            let golden = fs::read_to_string(&path).unwrap();
            let table = format!("{}\n", summary(&*model, &[batch_size, 1, 28, 28]).unwrap());
            assert_eq!(table, golden, "not {}, which tests/golden/make.py makes", path.display());
        }
    }
}

#[test]
#[ignore = "needs the Python reference"]
fn the_golden_summaries_are_what_torchinfo_prints_today() {
    let folder = tempfile::tempdir().unwrap();
    stdout_of(python("tests/golden/make.py").arg(folder.path()));
    let mut count = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        let golden = fs::read_to_string(checkout().join("tests/golden").join(entry.file_name())).unwrap();
        assert_eq!(golden, fs::read_to_string(entry.path()).unwrap(), "{:?}", entry.file_name());
        count += 1;
    }
    assert_eq!(count, 8);
}

#[test]
fn the_test_table_is_lightnings_at_any_terminal_width() {
    let metrics = Metrics { loss: 0.203_717_14, accuracy: 0.9415 };
    assert_snapshot!(test_table(&metrics, 70), @r"
    ──────────────────────────────────────────────────────────────────────
           Test metric             DataLoader 0
    ──────────────────────────────────────────────────────────────────────
          test_accuracy         0.9415000081062317
            test_loss           0.20371714234352112
    ──────────────────────────────────────────────────────────────────────
    ");
    assert_snapshot!(test_table(&metrics, 20), @r"
    ────────────────────
    Test metricDataLoader 0
    ────────────────────
    test_accur0.9415000081062317
       acy
    test_loss 0.20371714234352112
    ────────────────────
    ");
    let list = "[{'test_loss': 0.20371714234352112, 'test_accuracy': 0.9415000081062317}]";
    assert_eq!(test_list(&metrics), list);
}

#[test]
#[ignore = "needs the Python reference"]
fn a_hundred_thousand_floats_are_written_as_python_writes_them() {
    let python = stdout_of(&mut python("tests/floats.py"));
    let mut count = 0;
    for line in python.lines() {
        let (bits, theirs) = line.split_once(' ').unwrap();
        assert_eq!(repr(f32::from_bits(bits.parse().unwrap())), theirs, "of the bits {bits}");
        count += 1;
    }
    assert_eq!(count, 100_000);
}

#[test]
fn sizes_and_targets_are_printed_as_torch_prints_them() {
    assert_eq!(torch_size(&[256, 1, 28, 28]), "torch.Size([256, 1, 28, 28])");
    assert_eq!(torch_size(&[256]), "torch.Size([256])");
    let digits: Vec<i64> = (0..60_000).map(|i| i % 10).collect();
    assert_eq!(tensor_of_digits(&digits), "tensor([0, 1, 2,  ..., 7, 8, 9])");
    assert_eq!(tensor_of_digits(&digits[..3]), "tensor([0, 1, 2])");
    assert_snapshot!(tensor_of_digits(&digits[..26]), @r"
    tensor([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3,
            4, 5])
    ");
}
