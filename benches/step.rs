//! The parts of a training step, each alone and all together, so that a slower step can be traced to its part:
//! `cargo bench`, after the set-up.

mod common;

use std::hint::black_box;

use common::{BATCH_SIZE, gradients, module};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::Generator;
use islp_mnist::torch::nn::dropout;
use tch::Tensor;
use tch::nn::ModuleT;

fn generator(c: &mut Criterion) {
    const N: usize = 65_536;
    let generator = Generator::new(0);
    let mut group = c.benchmark_group("generator");
    group.throughput(Throughput::Elements(N as u64));
    group.bench_function("uniform", |b| b.iter(|| generator.uniform(black_box(N), -0.1, 0.1)));
    group.bench_function("bernoulli", |b| b.iter(|| generator.bernoulli(black_box(N), 0.6)));
    group.bench_function("randperm", |b| b.iter(|| generator.randperm(black_box(N))));
    group.finish();
}

/// Draws the two masks of the MLP and multiplies them with outputs of the layers before them.
fn masks(c: &mut Criterion) {
    let generator = Generator::new(0);
    let layers = [(0.4, 256), (0.3, 128)].map(|(p, width)| {
        let xs = Tensor::from_slice(&generator.uniform((BATCH_SIZE * width) as usize, 0.0, 1.0));
        (dropout(p, &generator).expect("a probability"), xs.view([BATCH_SIZE, width]))
    });
    c.bench_function("masks", |b| b.iter(|| layers.each_ref().map(|(layer, xs)| layer.forward_t(xs, true))));
}

fn optimizer(c: &mut Criterion) {
    let (mut module, images, labels) = module(Model::Mlp, 0.0, &Generator::new(0));
    let gradients = gradients(&module, &images, &labels);
    c.bench_function("optimizer", |b| b.iter(|| module.optimizer.step(&gradients).expect("memory suffices")));
}

fn step(c: &mut Criterion) {
    for model in Model::ALL {
        let (mut module, images, labels) = module(model, 0.0, &Generator::new(0));
        c.bench_function(&format!("step of {}", model.run_name()), |b| {
            b.iter(|| {
                let gradients = gradients(&module, &images, &labels);
                module.optimizer.step(&gradients).expect("memory suffices");
            });
        });
    }
}

criterion_group!(benches, generator, masks, optimizer, step);
criterion_main!(benches);
