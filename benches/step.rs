//! What a training step is made of, each alone and all together, so that a slower step can be traced to its part:
//! `cargo bench`, after the set-up.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use islp_mnist::generator::Generator;
use islp_mnist::layers::dropout;
use islp_mnist::model::Model;
use islp_mnist::module::SimpleModule;
use tch::nn::{ModuleT, VarStore};
use tch::{Device, Tensor};

const BATCH_SIZE: i64 = 256;

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

/// The two masks of the MLP, drawn and multiplied with what the layers before them give.
fn masks(c: &mut Criterion) {
    let generator = Generator::new(0);
    let layers = [(0.4, 256), (0.3, 128)].map(|(p, width)| {
        let xs = Tensor::from_slice(&generator.uniform((BATCH_SIZE * width) as usize, 0.0, 1.0));
        (dropout(p, &generator).expect("a probability"), xs.view([BATCH_SIZE, width]))
    });
    c.bench_function("masks", |b| b.iter(|| layers.each_ref().map(|(layer, xs)| layer.forward_t(xs, true))));
}

/// Module, images and labels for a step of that model. With a learning rate of 0 it stays the same step: trained on one
/// batch again and again, units die, and their averages become denormal numbers, which take long.
fn module(model: Model) -> (SimpleModule, Tensor, Tensor) {
    let generator = Generator::new(0);
    let images = Tensor::from_slice(&generator.uniform((BATCH_SIZE * 784) as usize, 0.0, 1.0));
    let labels: Vec<i64> = (0..BATCH_SIZE).map(|i| i % 10).collect();
    let vs = VarStore::new(Device::Cpu);
    let layers = model.build(&vs.root(), &generator).expect("memory suffices");
    let module = SimpleModule::classification(layers, vs, 0.0).expect("memory suffices");
    (module, images.view([BATCH_SIZE, 1, 28, 28]), Tensor::from_slice(&labels))
}

fn gradients(module: &SimpleModule, images: &Tensor, labels: &Tensor) -> Vec<Tensor> {
    let logits = module.forward(images, true).expect("the model takes the images");
    let loss = module.loss(&logits, labels).expect("the labels fit");
    module.optimizer.gradients(&loss).expect("all parameters have a part in the loss")
}

fn optimizer(c: &mut Criterion) {
    let (mut module, images, labels) = module(Model::Mlp);
    let gradients = gradients(&module, &images, &labels);
    c.bench_function("optimizer", |b| b.iter(|| module.optimizer.step(&gradients).expect("memory suffices")));
}

fn step(c: &mut Criterion) {
    for model in Model::ALL {
        let (mut module, images, labels) = module(model);
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
