//! Shared by the benchmarks.

use islp_mnist::islp::SimpleModule;
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::Generator;
use tch::nn::VarStore;
use tch::{Device, Tensor};

pub const BATCH_SIZE: i64 = 256;

/// Module, images and labels for a step of that model. A learning rate of 0 keeps the step the same: after many steps on one
/// batch, units die, and their averages decay to denormal numbers, which are slow.
pub fn module(model: Model, lr: f64, generator: &Generator) -> (SimpleModule, Tensor, Tensor) {
    let images = Tensor::from_slice(&generator.uniform((BATCH_SIZE * 784) as usize, 0.0, 1.0));
    let labels: Vec<i64> = (0..BATCH_SIZE).map(|i| i % 10).collect();
    let vs = VarStore::new(Device::Cpu);
    let layers = model.build(&vs.root(), generator).expect("memory suffices");
    let module = SimpleModule::classification(layers, vs, lr).expect("memory suffices");
    (module, images.view([BATCH_SIZE, 1, 28, 28]), Tensor::from_slice(&labels))
}

pub fn gradients(module: &SimpleModule, images: &Tensor, labels: &Tensor) -> Vec<Tensor> {
    let logits = module.forward(images, true).expect("the model takes the images");
    let loss = module.loss(&logits, labels).expect("the labels fit");
    module.optimizer.gradients(&loss).expect("the loss depends on all parameters")
}
